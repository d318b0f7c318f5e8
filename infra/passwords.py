"""Passwords of the local stack: made on its first start, kept in one file that only its owner can read.

    passwords = Passwords.of(folder)         # folder/passwords.json, mode 600

There is no default and no setting for them. A file that others could read is refused.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from dataclasses import asdict, dataclass, field
from pathlib import Path

from components.errors import BadInput

_BYTES = 24
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def _made() -> str:
    return secrets.token_hex(_BYTES)


@dataclass(frozen=True)
class Passwords:
    """One for each service; letters and digits alone, so that none has to be quoted in an address."""

    postgres: str = field(default_factory=_made, repr=False)
    mlflow: str = field(default_factory=_made, repr=False)
    mlflow_forms: str = field(default_factory=_made, repr=False)
    """Key that MLflow signs its forms with."""
    prefect: str = field(default_factory=_made, repr=False)
    s3: str = field(default_factory=_made, repr=False)

    @classmethod
    def of(cls, folder: Path) -> Passwords:
        """Those of the stack in `folder`, made where there are none. Raises `BadInput` for a file that others can
        read."""
        path = folder / "passwords.json"
        if not path.exists():
            made = cls()
            write_secret(path, json.dumps(asdict(made), indent=1) + "\n")
            return made
        if path.stat().st_mode & _OTHERS:
            mend = f"chmod 600 {path}; if somebody may have read it, remove the folder: all is made anew"
            raise BadInput("others can read the passwords of the stack", where=str(path), mend=mend)
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def all(self) -> tuple[str, ...]:
        """Each of them."""
        return tuple(asdict(self).values())


def write_secret(path: Path, text: str) -> None:
    """Replace a file by one that nobody else can read, at no moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)

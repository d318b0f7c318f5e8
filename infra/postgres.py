"""A PostgreSQL of one's own: its folder, its databases, the command that serves it. `infra/stack.sh` installs Debian's.

PostgreSQL does not run as root. Where the stack is started by root it runs as the user `postgres`, with its files below
/var/lib/idiom, as that user may not be able to enter the folder of the workspace.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from components.errors import BadInput, StageError
from infra.passwords import write_secret

USER = "idiom"
_SYSTEM_USER = "postgres"
_AS_ROOT = Path("/var/lib/idiom")
_INSTALL = "bash infra/stack.sh installs it (Debian: apt install postgresql)"


def programs() -> Path:
    """Folder with `initdb` and `postgres`; the newest version. Raises `BadInput` where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    if on_path := shutil.which("initdb"):
        return Path(on_path).resolve().parent
    raise BadInput("there is no PostgreSQL", where="/usr/lib/postgresql and PATH", mend=_INSTALL)


def folder_of(stack: Path) -> Path:
    """Where the data of a stack lie."""
    if os.geteuid() != 0:
        return stack / "postgres"
    return _AS_ROOT / f"stack-{hashlib.sha256(str(stack).encode()).hexdigest()[:12]}"


def create(stack: Path, password: str) -> None:
    """Make the folder of the data, unless it is there; its only user has the password, asked for at each connection."""
    folder = folder_of(stack)
    if (folder / "data" / "PG_VERSION").is_file():
        return
    shutil.rmtree(folder, ignore_errors=True)  # what an interrupted start left
    folder.mkdir(parents=True, mode=0o700)
    given = folder / "password"
    write_secret(given, password)
    if os.geteuid() == 0:
        _AS_ROOT.chmod(0o755)
        for path in (folder, given):
            shutil.chown(path, _SYSTEM_USER, _SYSTEM_USER)
    options = [f"--username={USER}", "--auth=scram-sha-256", f"--pwfile={given}", "--encoding=UTF8", "--locale=C.UTF-8"]
    command = [*_as_user(), str(programs() / "initdb"), "--pgdata", str(folder / "data"), *options, "--no-sync"]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True)
    given.unlink()
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-4:])
        raise StageError("PostgreSQL could not make its folder", where=said, mend=f"make room in {folder.parent}")


def command(stack: Path, port: int) -> list[str]:
    """What serves the folder on 127.0.0.1, without a socket in the file system."""
    options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    return [*_as_user(), str(programs() / "postgres"), "-D", str(folder_of(stack) / "data"), "-p", str(port), *options]


def make_databases(port: int, password: str, names: Sequence[str]) -> bool:
    """Make the databases that are not there; whether the server answered."""
    import psycopg2

    try:
        connection = psycopg2.connect(
            host="127.0.0.1", port=port, user=USER, password=password, dbname="postgres", connect_timeout=2
        )
    except psycopg2.OperationalError:
        return False
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database")
            known = {name for (name,) in cursor.fetchall()}
            for name in names:
                if name not in known:
                    cursor.execute(f'CREATE DATABASE "{name}"')
    finally:
        connection.close()
    return True


def remove(stack: Path) -> None:
    """Remove the data of a stack that is stopped."""
    shutil.rmtree(folder_of(stack), ignore_errors=True)


def _as_user() -> list[str]:
    """What makes a command of root one of PostgreSQL's own user; `setpriv` becomes the program."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={_SYSTEM_USER}", f"--regid={_SYSTEM_USER}", "--clear-groups"]

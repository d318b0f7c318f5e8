"""The ways a stage can end badly, each with the exit code that DVC, Prefect and a person read.

Standard library only: the learning rooms import it on machines that have nothing else.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any


class StageError(Exception):
    """A stage cannot go on. `what` was found, `where`, and how to `mend` it; all three reach the person who runs it."""

    exit_code = 1

    def __init__(self, what: str, *, where: str, mend: str) -> None:
        self.what, self.where, self.mend = what, where, mend
        super().__init__(f"{what}\n  where: {where}\n  mend:  {mend}")

    def __reduce__(self) -> tuple[Callable[..., StageError], tuple[Any, ...]]:
        """So that one raised in another process arrives whole."""
        return functools.partial(type(self), self.what, where=self.where, mend=self.mend), ()

    def facts(self) -> dict[str, Any]:
        """What a file hands to a process that this one cannot raise in; `from_facts` makes the same error of it."""
        return {"what": self.what, "where": self.where, "mend": self.mend, "exit_code": self.exit_code}

    @staticmethod
    def from_facts(facts: Mapping[str, Any]) -> StageError:
        """The error of the class that ends with that exit code."""
        kinds = {kind.exit_code: kind for kind in (BadInput, GateRefused, Interrupted)}
        kind = kinds.get(facts["exit_code"], StageError)
        return kind(facts["what"], where=facts["where"], mend=facts["mend"])


def unknown(kind: str, name: str, known: Iterable[str], *, where: str) -> BadInput:
    """The error for a name that is none of `known`; the mend is the nearest one, or all of them."""
    import difflib

    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    return BadInput(
        f"there is no {kind} {name!r}",
        where=where,
        mend=f"did you mean {near[0]}?" if near else f"one of: {', '.join(names)}",
    )


def first_line(error: BaseException) -> str:
    """An exception as one short line: its type, and what it says first if it says anything."""
    line = next((line.strip()[:200] for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


class BadInput(StageError):
    """The input or a parameter is wrong; nothing was written."""

    exit_code = 2


class GateRefused(StageError):
    """The input could be read, but a gate (critical expectation, contract, sorted sequences) says no."""

    exit_code = 3


class Interrupted(StageError):
    """Stopped by SIGTERM or SIGINT after the checkpoint was saved; the same command goes on from there."""

    exit_code = 130

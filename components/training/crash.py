"""Crash points, at which a test makes the training die: `crash_point("recommender.batch")`.

    IDIOM_CRASH=recommender.batch:kill:3 python -m components.training JOB.json

dies by SIGKILL when that point is passed for the third time. Kinds: `kill` (SIGKILL: no clean-up), `term` (SIGTERM,
as a scheduler sends it), `raise` (an ordinary exception). Without the variable a point costs one comparison.
"""

from __future__ import annotations

import os
import signal

from components.errors import BadInput

POINTS = (
    "cold_start.batch",  # after a step of the generator's cold start
    "index.start",  # before IDs are written
    "index.progress",  # while they are written
    "index.done",  # the new table stands, nothing is saved yet
    "recommender.batch",
    "recommender.validated",  # after validation, before its result is saved
    "generator.batch",
    "refit.batch",
    "phase.done",  # between two phases, before the checkpoint
    "checkpoint.weights",  # weights are written, the rest is not
    "checkpoint.manifest",  # everything but the manifest is written
    "checkpoint.published",  # the new checkpoint stands, older ones are not removed yet
    "publish.start",  # training is over, the pair is not there
    "publish.done",  # the pair stands, the work folder is not cleared yet
    "publish.finished",  # of the checkpoints only the last is left, DVC has not recorded the pair
)
KINDS = ("kill", "term", "raise")
_planned: tuple[str, str, int] | None = None
_passed = 0


class PlannedCrash(RuntimeError):
    """What kind `raise` raises."""


def arm(plan: str | None) -> None:
    """Plan a crash, "point:kind[:nth]", or none. Raises `BadInput` for an unknown point or kind."""
    global _planned, _passed
    _passed = 0
    if not plan:
        _planned = None
        return
    point, kind, nth = [*plan.split(":"), "1"][:3] if plan.count(":") in (1, 2) else ("", "", "")
    if point not in POINTS or kind not in KINDS or not nth.isdigit():
        raise BadInput(
            f"IDIOM_CRASH is {plan!r}",
            where="environment",
            mend=f"write point:kind[:nth] with a point of {', '.join(POINTS)} and a kind of {', '.join(KINDS)}",
        )
    _planned = (point, kind, int(nth))


def crash_point(name: str) -> None:
    """Die here if a crash is planned for this point."""
    global _passed
    if _planned is None or _planned[0] != name:
        return
    _passed += 1
    if _passed != _planned[2]:
        return
    if _planned[1] == "raise":
        raise PlannedCrash(f"planned at {name}")
    os.kill(os.getpid(), signal.SIGKILL if _planned[1] == "kill" else signal.SIGTERM)


def arm_from_environment() -> None:
    """Read IDIOM_CRASH; called once at the start of a training."""
    arm(os.environ.get("IDIOM_CRASH"))

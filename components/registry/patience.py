"""How long a store that is locked or silent is waited for: a backup, another machine's run, a server that starts again.

    with patient(120.0):
        ...                                  # every call of MLflow in here waits so long, also those of its own modules

SQLite waits by its busy handler, which asks again at growing intervals; MLflow sets 20 s for it, anew in each session.
A server is asked again by MLflow's own retries, at intervals that double.
"""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
_MOST_RETRIES = 10
"""MLflow refuses more."""
_BUSY = "PRAGMA busy_timeout"


@contextmanager
def patient(seconds: float) -> Iterator[None]:
    """Let every store wait up to `seconds` for a lock or an answer; a number of retries that the user set is kept."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    wanted = f"{_BUSY} = {round(seconds * 1000)}"

    def connected(connection: Any, _: Any) -> None:
        # What looks at the tables, before there is a session, opens a connection that would wait for 5 s.
        if isinstance(connection, sqlite3.Connection):
            connection.execute(wanted)

    def executed(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> tuple[str, Any]:
        return (wanted if statement.startswith(_BUSY) and "=" in statement else statement), parameters

    chosen = os.environ.get(RETRIES)
    event.listen(Engine, "connect", connected)
    event.listen(Engine, "before_cursor_execute", executed, retval=True)
    if chosen in (None, QUICK):
        os.environ[RETRIES] = str(retries(seconds))
    try:
        yield
    finally:
        event.remove(Engine, "connect", connected)
        event.remove(Engine, "before_cursor_execute", executed)
        if chosen is None:
            os.environ.pop(RETRIES, None)
        else:
            os.environ[RETRIES] = chosen


QUICK = "3"
"""Retries where a person waits for a word: MLflow's 7 take minutes to report a mistyped address."""


def retries(seconds: float) -> int:
    """Retries that take about so long: none before the first, then 4, 8, 16, ... s, which are 2^(n+1) - 4 together."""
    return min(_MOST_RETRIES, max(1, math.ceil(math.log2(seconds + 4)) - 1))

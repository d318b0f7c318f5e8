"""Errors cross from one process to another as they are."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator

import pytest

from components.errors import StageError


def kinds(base: type[StageError] = StageError) -> Iterator[type[StageError]]:
    """`base` and every class below it."""
    yield base
    for kind in base.__subclasses__():
        yield from kinds(kind)


@pytest.mark.parametrize("kind", kinds())
def test_an_error_arrives_whole(kind: type[StageError]) -> None:
    """Prevents an exit code that is lost on the way, by a file as by a pipe; a new class that is not handed over."""
    error = kind("größe 3", where="there", mend="this way")
    by_file, by_pipe = StageError.from_facts(json.loads(json.dumps(error.facts()))), pickle.loads(pickle.dumps(error))
    assert type(by_pipe) is kind
    assert issubclass(kind, type(by_file)) and by_file.exit_code == kind.exit_code  # a file says the exit code alone
    for arrived in (by_file, by_pipe):
        assert (str(arrived), arrived.facts()) == (str(error), error.facts())

"""Signals that wait for a safe place, and the handlers that stood before."""

from __future__ import annotations

import os
import signal

import pytest

from components.errors import Interrupted
from components.processes.signals import Stop


def test_a_signal_waits_for_a_safe_place() -> None:
    """Prevents a checkpoint of half a step, and a stage that ignores the scheduler while it writes IDs."""
    before = signal.getsignal(signal.SIGTERM)
    with Stop().listening() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
        with pytest.raises(Interrupted), stop.at_once():
            raise AssertionError("a section must not begin after a signal")
    with Stop().listening() as stop, pytest.raises(Interrupted), stop.at_once():
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the section must be left at once")
    assert signal.getsignal(signal.SIGTERM) is before


def test_every_signal_is_handed_on() -> None:
    """Prevents a second Ctrl-C that does not kill what the first one asked to stop."""
    counts: list[int] = []
    with Stop(counts.append).listening() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    assert counts == [1, 2, 3] and stop.signal == "SIGINT"


def test_an_impatient_person_is_obeyed_and_an_echo_of_sigterm_is_not() -> None:
    """Prevents a training that cannot be ended while it saves, and one that a scheduler's second SIGTERM ends there.

    The handler of before is set here, as a background job ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), Stop(give_back_sigint=True).listening() as stop:
            for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
                os.kill(os.getpid(), number)
            assert stop.requested
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("the second SIGINT ends the wait")
    finally:
        signal.signal(signal.SIGINT, before)

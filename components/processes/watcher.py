"""Become a program, and leave a watcher behind that ends it when the process which started it has ended.

    python -I -S watcher.py SIGNAL SECONDS PROGRAM [ARGUMENT ...]        # started by Child(..., watched=SIGNAL)

Standard input is a pipe whose other end only the starting process holds: it closes when that ends, even by `kill -9`,
also while the program is starting. The watcher then sends SIGNAL to the program's group, and SIGKILL to what is left of
it after SECONDS. It is no child of the program, which keeps its number, group and exit code. Standard library only.
"""

import os
import signal
import sys
import time

_LOOK_SECONDS = 0.1


def become(number: int, seconds: float, command: list[str]) -> None:
    """Leave the watcher and execute the command in this process, which leads its group; returns only by an error."""
    group = os.getpid()
    if (middle := os.fork()) == 0:
        if os.fork() == 0:
            _watch(group, number, seconds)
        os._exit(0)
    os.waitpid(middle, 0)  # the watcher is nobody's child now: a program that counts its children does not see it
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    signal.signal(number, signal.SIG_DFL)  # a shell's background job has SIGINT ignored, and hands that down
    os.execvp(command[0], command)


def _watch(group: int, number: int, seconds: float) -> None:
    """Wait for the end of the pipe, then for the end of the group."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        os.dup2(nothing, descriptor)  # who reads the program's output waits for all who could write there
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # and a lock would be held on
    os.read(0, 1)
    for each in (number, signal.SIGKILL):
        until = time.monotonic() + seconds
        lives = _sent(group, each)
        while lives and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
            lives = _sent(group, 0)
    os._exit(0)


def _sent(group: int, number: int) -> bool:
    """Send a signal to a group; whether any process of it is left."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    become(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])

"""Runs first in each Python that has this folder on its PYTHONPATH: stages and ranks are handed to a fork server.

The process stays, with its signals and its exit status; another one, forked from a server that has imported all
libraries, does the work (tests/warm_server.py).
"""

import os
import sys

MODULES = (
    *("components", "flows.ablation.stage"),
    *(
        "components.training",
        "tests.training.slow_save",
        "components.scoring.ranks",
        "components.training.ids.indexing",
    ),
)
"""Stages, and ranks of trainings and scorings."""
given = [word for word in sys.orig_argv[1:] if word != "-u"]

if given[:1] == ["-m"] and given[1] in MODULES and "TEST_WARM_SERVER" in os.environ:
    import json
    import signal
    import socket
    from contextlib import suppress
    from pathlib import Path

    with socket.socket(socket.AF_UNIX) as server:
        server.connect(os.environ["TEST_WARM_SERVER"])
        request = {
            "module": given[1],
            "arguments": given[2:],
            "cwd": str(Path.cwd()),
            "environment": {**os.environ},
        }
        socket.send_fds(server, [b"x"], [0, 1, 2])
        stream = server.makefile("rw")
        stream.write(json.dumps(request) + "\n")
        stream.flush()
        child = int(stream.readline())

        def hand_on(number, frame):
            with suppress(ProcessLookupError):
                os.kill(child, number)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, hand_on)
        code = int(stream.readline())
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)

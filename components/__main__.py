"""Run one stage in the current workspace: `python -m components STAGE` (what dvc.yaml calls).

Exit codes: 0 done; 2 bad input or parameter; 3 a gate refused; 130 interrupted with the checkpoint saved.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from pathlib import Path

from components import __version__
from components.errors import BadInput, Interrupted, StageError, unknown
from components.processes.environment import prepare
from components.storage.artifacts import publish_json

_ROOM = "make room on that disk (df -h says which is full), or raise the quota; what was published before still stands"
_RIGHTS = "make it readable and the workspace writable for this user (ls -l, chown)"
MACHINE: dict[int, str] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _ROOM),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _RIGHTS),
}
"""What a disk may refuse in any stage, with the mend. Every other error is a bug and keeps its traceback."""
_OS_ERROR = re.compile(r"\(os error (\d+)\)")


def main(arguments: list[str]) -> int:
    """Run the stage named by `arguments` and return its exit code."""
    if arguments == ["--version"]:
        print(f"idiom {__version__}")
        return 0
    prepare()

    from components import stages
    from components.settings.file import load

    if len(arguments) != 1 or arguments[0] in ("-h", "--help"):
        print(f"usage: python -m components {{{','.join(stages.STAGES)}}} | --version", file=sys.stderr)
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    if arguments[0] not in stages.STAGES:
        print(f"error: {unknown('stage', arguments[0], stages.STAGES, where='python -m components')}", file=sys.stderr)
        return 2
    workspace = Path.cwd()
    try:
        stages.run(arguments[0], workspace, load(workspace / "params.yaml"))
    except StageError as error:
        return _report(arguments[0], error)
    except KeyboardInterrupt:
        mend = "the same command runs this stage again; what was published before still stands"
        return _report(arguments[0], Interrupted("interrupted", where=str(workspace), mend=mend))
    except Exception as error:
        number = _os_error(error)
        if number not in MACHINE:
            raise
        where = str(getattr(error, "filename", None) or workspace)
        return _report(arguments[0], BadInput(os.strerror(number), where=where, mend=MACHINE[number]))
    return 0


def _os_error(error: Exception) -> int:
    """The system's number of an error, 0 for none. Polars and safetensors hide it in words: "... (os error 28)"."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _OS_ERROR.search(str(error))
    return int(found[1]) if found else 0


def _report(stage: str, error: StageError) -> int:
    """Tell the person at the terminal, or whoever started the stage and tells them; returns the exit code for DVC."""
    from components.stages import ERROR_FILE

    if path := os.environ.get(ERROR_FILE):
        try:
            publish_json(Path(path), {"stage": stage, **error.facts()})
            return error.exit_code
        except OSError:  # the disk that is full, for one
            pass
    print(f"{stage}: {error}", file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

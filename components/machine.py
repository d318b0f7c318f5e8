"""What a disk refuses to any command, as an error with its mend: no room, no rights. Standard library only.

except Exception as error:
    raise refused_by_the_machine(error, workspace) or error
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from components.errors import BadInput

_ROOM = "make room on that disk (df -h says which is full), or raise the quota"
_RIGHTS = "make it readable and the workspace writable for this user (ls -l, chown)"
_MENDS: dict[int, str] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _ROOM),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _RIGHTS),
}
_IN_WORDS = re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\]")


def refused_by_the_machine(error: BaseException, workspace: Path, *, kept: str = "") -> BadInput | None:
    """The error in words if a disk refused something; None for every other, which is a bug and keeps its traceback.

    kept: what is said of the state in which everything was left, after the mend.
    """
    number = _number(error)
    if number not in _MENDS:
        return None
    where = str(getattr(error, "filename", None) or workspace)
    return BadInput(os.strerror(number), where=where, mend="; ".join(filter(None, [_MENDS[number], kept])))


def _number(error: BaseException) -> int:
    """The system's number of an error, 0 for none. Some libraries have it in words: Polars and safetensors "(os error
    28)", a copied folder "[Errno 28]"."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _IN_WORDS.search(str(error))
    return int(found[1] or found[2]) if found else 0

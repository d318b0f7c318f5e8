"""Count the records of a raw text file without its reader, and hold its quoting to one dialect, byte by byte.

    counted = count(file, "rfc4180", ",")
    counted.records, counted.problem

A reader that meets a stray quote swallows rows and says nothing. So every text file is looked through once more before
it is read (`structure` has the dialects), and the first place that its dialect does not allow is named by its line.
"""

from __future__ import annotations

import numpy as np

from components.data.canonical.tables import RawFile
from components.data.ingest.structure import CHUNK, NEWLINE, Counted, Scan, shown, whole_chunks
from components.data.ingest.swallowed import swallowed
from components.settings.params import QUOTINGS, Quoting

BEGINNING = 1 << 26
"""Bytes from which a dialect is chosen."""


def count(
    file: RawFile, quoting: Quoting, separator: str, *, header: bool = True, width: int | None = None, limit: int = 0
) -> Counted:
    """Look through a delimited file. width: fields of a record (None: those of the first line). limit: bytes (0: all).

    The look ends at the first problem; the counts are those up to there.
    """
    found = Counted()
    state = Scan(ord(separator), quoting, header, width, found)
    with file.path.open("rb") as stream:
        for content, last in whole_chunks(stream, limit, state):
            state.take(content, last)
            if found.problem:
                break
    if not found.problem and found.suspects:
        found.problem = swallowed(file.path, separator, quoting, found)
    return found


def count_lines(file: RawFile) -> Counted:
    """Count the lines of a file that are not blank: JSON lines, `a::b::c`."""
    found, number = Counted(), 0
    with file.path.open("rb") as stream:
        rest = b""
        while chunk := stream.read(CHUNK):
            whole, newline, rest = (rest + chunk).rpartition(b"\n")
            if newline:
                number += _nonblank(whole, found)
        if rest:
            number += _nonblank(rest, found)
            found.ends_with_newline = False
            found.last_line = shown(rest)
    found.records = number
    return found


def fitting(file: RawFile, separator: str, *, header: bool = True, width: int | None = None) -> tuple[Quoting, Counted]:
    """The dialect that the beginning of a file is written in, and what was found in it.

    A table with commas is RFC 4180 where it can be, one with tabs has bare quotes where nothing says otherwise. Where
    none fits, the usual one of the kind is returned with its problem.
    """
    usual: Quoting = "rfc4180" if separator == "," else "unquoted"
    order = (usual, *(each for each in QUOTINGS if each != usual))
    looked = {each: count(file, each, separator, header=header, width=width, limit=BEGINNING) for each in order[:1]}
    first = looked[usual]
    if usual == "rfc4180" and first.problem is None:
        return usual, first
    if usual == "unquoted" and first.problem is None and not first.quoted:
        return usual, first
    for each in order[1:]:
        looked[each] = count(file, each, separator, header=header, width=width, limit=BEGINNING)
    strict = looked["rfc4180"]
    if usual == "unquoted" and strict.problem is None:
        written = strict.doubled or strict.hidden or strict.quoted * 2 >= max(strict.records, 1)
        if written or first.problem is not None:
            return "rfc4180", strict
    for each in order:
        if looked[each].problem is None and (each != "backslash" or looked[each].doubled):
            return each, looked[each]
    return usual, first


def _nonblank(content: bytes, found: Counted) -> int:
    if not content:
        found.blank += 1
        return 0
    chunk = np.frombuffer(content, np.uint8)
    ends = np.append(np.flatnonzero(chunk == NEWLINE), chunk.size)
    starts = np.concatenate([[0], ends[:-1] + 1])
    blank = ends == starts
    # Lines that begin with a space may hold nothing else.
    for each in np.flatnonzero(~blank & (chunk[np.minimum(starts, max(chunk.size - 1, 0))] <= 32)):
        blank[each] = not content[starts[each] : ends[each]].strip()
    found.blank += int(blank.sum())
    return int(starts.size - blank.sum())

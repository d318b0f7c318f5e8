"""Count the records of a raw text file without its reader, and hold its quoting to one dialect, byte by byte.

    counted = count(file, "rfc4180", ",")
    counted.records, counted.problem

A reader that meets a stray quote swallows rows and says nothing. So every text file is looked through once more before
it is read: where fields and records end is found from the bytes alone, and the first place that the dialect does not
allow is named by its line. Three dialects:

- `rfc4180`: a quote opens a field at its first character and closes it at its last; within, a quote is doubled.
- `backslash`: the same, but a backslash stands before a quote (or a backslash) within (MySQL, Spark).
- `unquoted`: a quote is a character like any other, and every line is a record.

In all of them every record has as many fields as the first line. Positions are found with numpy, some hundred MB/s.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from components.data.canonical.tables import RawFile
from components.settings.params import QUOTINGS, Quoting

_CHUNK = 1 << 22
BEGINNING = 1 << 26
"""Bytes from which a dialect is chosen."""
_LONGEST_FIELD = 1 << 26
"""A quoted field of more bytes than this has lost its end."""
_NEWLINE, _RETURN, _QUOTE, _BACKSLASH = b'\n\r"\\'
_SUSPECTS = 1000
"""Lines within quoted fields that are looked at, whether they are records."""
_HEAD = 1 << 20
_FEW = 10
_BOM = b"\xef\xbb\xbf"

_Bytes = npt.NDArray[np.uint8]
_Places = npt.NDArray[np.int64]
_NONE: _Places = np.empty(0, np.int64)


@dataclass(frozen=True)
class Problem:
    """The first place of a file that its dialect does not allow."""

    line: int
    what: str
    cut: bool = False
    """It is the last record, with fewer fields: the file ends in the middle."""


@dataclass
class Counted:
    """What one look through a file found."""

    records: int = 0
    """Without the header, without lines that hold nothing and without repetitions of the header."""
    blank: int = 0
    headers_again: int = 0
    """Lines that repeat the header (several files written one after the other)."""
    ends_with_newline: bool = True
    last_line: str = ""
    problem: Problem | None = None
    doubled: int = 0
    """Quotes that stand doubled, or behind a backslash, within a quoted field."""
    quoted: int = 0
    """Fields in quotes."""
    hidden: int = 0
    """Separators and line ends within quoted fields."""
    _suspects: list[tuple[int, int, bytes]] = field(default_factory=list)
    _inner_lines: int = 0


def count(
    file: RawFile, quoting: Quoting, separator: str, *, header: bool = True, width: int | None = None, limit: int = 0
) -> Counted:
    """Look through a delimited file. width: fields of a record (None: those of the first line). limit: bytes (0: all).

    The look ends at the first problem; the counts are those up to there.
    """
    found = Counted()
    state = _Scan(file.path, ord(separator), quoting, header, width, found)
    with file.path.open("rb") as stream:
        for content, last in _whole_chunks(stream, limit, state):
            state.take(content, last)
            if found.problem:
                break
    if not found.problem and found._suspects:
        found.problem = _swallowed(file.path, separator, quoting, found)
    return found


def count_lines(file: RawFile) -> Counted:
    """Count the lines of a file that are not blank: JSON lines, `a::b::c`."""
    found, number = Counted(), 0
    with file.path.open("rb") as stream:
        rest = b""
        while chunk := stream.read(_CHUNK):
            whole, newline, rest = (rest + chunk).rpartition(b"\n")
            if newline:
                number += _nonblank(whole, found)
        if rest:
            number += _nonblank(rest, found)
            found.ends_with_newline = False
            found.last_line = _shown(rest)
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


@dataclass(frozen=True)
class _Structure:
    """Positions in a chunk: quotes; separators and line ends outside of quotes; all separators and line ends."""

    quotes: _Places
    separators: _Places
    ends: _Places
    every: _Places
    newlines: _Places
    escaped: _Places
    """Quotes behind a backslash, which are characters; and those of them that stand outside of quotes."""
    bare: _Places


class _Scan:
    """Chunk after chunk of whole records; where in the file we are, and what was found so far."""

    def __init__(
        self, path: Path, separator: int, quoting: Quoting, header: bool, width: int | None, found: Counted
    ) -> None:
        self.separator, self.quoting, self.found = separator, quoting, found
        self.width, self._header_line = width, b""
        self._line = 1  # the number of the chunk's first line
        self._wants_header = header

    def structure(self, chunk: _Bytes) -> _Structure:
        """Where the fields and records of a chunk end; quotes behind a backslash are none."""
        every, newlines = np.flatnonzero(chunk == self.separator), np.flatnonzero(chunk == _NEWLINE)
        if self.quoting == "unquoted" or not (quote := chunk == _QUOTE).any():
            return _Structure(_NONE, every, newlines, every, newlines, _NONE, _NONE)
        quotes = np.flatnonzero(quote)
        escaped = quotes[:0]
        if self.quoting == "backslash":
            behind = _escaped(chunk, quotes)
            quotes, escaped = quotes[~behind], quotes[behind]
            quote[escaped] = False
        inside = np.bitwise_xor.accumulate(quote.view(np.uint8)).view(bool)
        bare = escaped[~inside[escaped]]
        return _Structure(quotes, every[~inside[every]], newlines[~inside[newlines]], every, newlines, escaped, bare)

    def last_end(self, content: bytes) -> int:
        """Where the last whole record ends; 0 where none does."""
        end = content.rfind(b"\n") + 1
        if self.quoting == "unquoted" or not end or b'"' not in content:
            return end
        if self.quoting == "rfc4180":
            quotes, steps = content.count(b'"', 0, end), 0
            while quotes % 2 and end and steps < _SUSPECTS:
                before = content.rfind(b"\n", 0, end - 1) + 1
                quotes, end, steps = quotes - content.count(b'"', before, end), before, steps + 1
            if not quotes % 2:
                return end
        ends = self.structure(np.frombuffer(content, np.uint8)).ends
        return int(ends[-1]) + 1 if ends.size else 0

    def take(self, content: bytes, last: bool) -> None:
        """Look through whole records; of the last chunk the last may lack its line end."""
        if last and content and not content.endswith(b"\n"):
            self.found.ends_with_newline = False
            self.found.last_line = _shown(content[content.rfind(b"\n") + 1 :])
            content += b"\n"
        chunk = np.frombuffer(content, np.uint8)
        if not chunk.size:
            return
        found = self.structure(chunk)
        self.found.doubled += found.escaped.size
        problem = self._misplaced(chunk, found.quotes, found.newlines)
        if problem is None and found.bare.size:
            place = int(found.bare[0])
            what = f"a quote stands within a field that is not in quotes: {_around(chunk, place)}"
            problem = Problem(self._line_of(place, found.newlines), what)
        if problem is None:
            problem = self._records(content, chunk, found.separators, found.ends, found.newlines, last)
        if problem is None and found.quotes.size % 2:
            opened = int(found.quotes[-1])
            what = f"a quoted field opens and does not end: {_around(chunk, opened)}"
            problem = Problem(self._line_of(opened, found.newlines), what)
        if problem is None and found.quotes.size:
            self._look_inside(content, found)
        if problem is None and self.quoting == "unquoted":
            problem = self._bare(chunk, found.separators, found.ends)
        self.found.problem = problem
        self._line += found.newlines.size

    def _line_of(self, place: int, newlines: _Places) -> int:
        return self._line + int(np.searchsorted(newlines, place))

    def _misplaced(self, chunk: _Bytes, quotes: _Places, newlines: _Places) -> Problem | None:
        """The first quote that neither opens, closes nor stands doubled."""
        if not quotes.size:
            return None
        opens, closes = quotes[0::2], quotes[1::2]
        before = np.where(opens > 0, chunk[opens - 1], _NEWLINE)
        doubled = (before == _QUOTE) & (opens > 0)
        if opens.size > 1:  # behind a closing quote, not behind one that a backslash made a character
            doubled[1:] &= closes[: opens.size - 1] == opens[1:] - 1
        self.found.doubled += int(doubled.sum())
        self.found.quoted += int(opens.size - doubled.sum())
        wrong_open = opens[(before != self.separator) & (before != _NEWLINE) & ~doubled]
        after = chunk[np.minimum(closes + 1, chunk.size - 1)]
        right = (after == self.separator) | (after == _NEWLINE) | (after == _RETURN)
        right[: opens[1:].size] |= closes[: opens[1:].size] + 1 == opens[1:]
        wrong_close = closes[~right]
        firsts = [where[0] for where in (wrong_open, wrong_close) if where.size]
        if firsts:
            place = int(min(firsts))
            if wrong_open.size and place == wrong_open[0]:
                said = "a quote stands within a field that is not in quotes"
            else:
                opened = self._line_of(int(opens[np.searchsorted(opens, place) - 1]), newlines)
                since = f" (it opened in line {opened})" if opened != self._line_of(place, newlines) else ""
                said = f"a quoted field goes on behind its closing quote{since}"
            return Problem(self._line_of(place, newlines), f"{said}: {_around(chunk, place)}")
        return None

    def _records(
        self, content: bytes, chunk: _Bytes, separators: _Places, ends: _Places, newlines: _Places, last: bool
    ) -> Problem | None:
        """Book the records, or name the first that has another number of fields than the header."""
        starts = np.concatenate([[0], ends[:-1] + 1]) if ends.size else ends
        returns = (ends > starts) & (chunk[np.maximum(ends - 1, 0)] == _RETURN)
        lengths = ends - starts - returns
        fields = np.diff(np.searchsorted(separators, ends), prepend=0) if ends.size else ends
        blank = self._blank(content, starts, lengths, fields)
        self.found.blank += int(blank.sum())
        starts, lengths, fields = (each[~blank] for each in (starts, lengths, fields))
        if not starts.size:
            return None
        first = 0
        if self.width is None:
            self.width = int(fields[0]) + 1
        if self._wants_header:
            self._header_line = content[starts[0] : starts[0] + lengths[0]].removeprefix(_BOM)
            self._wants_header, first = False, 1
        wrong = np.flatnonzero(fields != self.width - 1)
        if wrong.size:
            at, end = int(wrong[0]), last and int(wrong[0]) == starts.size - 1
            number = self._line_of(int(starts[at]), newlines)
            given = int(fields[at]) + 1
            what = f"line {number} has {given} fields, the first line {self.width}"
            cut = end and given < self.width and not self.found.ends_with_newline
            return Problem(number, what, cut=cut)
        again = 0
        if len(self._header_line) > 1:
            alike = np.flatnonzero(lengths[first:] == len(self._header_line)) + first
            if alike.size and content.find(self._header_line, int(starts[first])) >= 0:
                size = len(self._header_line)
                again = sum(content[starts[each] : starts[each] + size] == self._header_line for each in alike)
        self.found.headers_again += again
        self.found.records += starts.size - first - again
        return None

    def _blank(self, content: bytes, starts: _Places, lengths: _Places, fields: _Places) -> npt.NDArray[np.bool_]:
        """Records that hold nothing: separators alone, or spaces."""
        blank = lengths == 0 if self.width == 1 else lengths == fields
        short = np.flatnonzero(~blank & (fields == 0)) if self.width != 1 else np.empty(0, np.int64)
        for each in short[:_SUSPECTS]:
            blank[each] = not content[starts[each] : starts[each] + lengths[each]].strip(b" \t\xef\xbb\xbf")
        return blank

    def _bare(self, chunk: _Bytes, separators: _Places, ends: _Places) -> Problem | None:
        """With commas, fields that stand in quotes as a whole are no bare ones: their quotes would be read as text."""
        if not (chunk == _QUOTE).any():
            return None
        bounds = np.sort(np.concatenate([[-1], separators, ends]))
        starts, stops = bounds[:-1] + 1, bounds[1:] - 1
        stops = stops - ((stops > starts) & (chunk[stops] == _RETURN))
        full = np.flatnonzero((stops > starts) & (chunk[starts] == _QUOTE) & (chunk[np.maximum(stops, 0)] == _QUOTE))
        self.found.quoted += full.size
        if self.separator != ord("\t") and full.size:
            place = int(starts[full[0]])
            what = f"a field stands in quotes: {_around(chunk, place)}"
            return Problem(self._line_of(place, ends), what)
        return None

    def _look_inside(self, content: bytes, found: _Structure) -> None:
        """Remember lines that begin within a quoted field and have as many separators as a record."""
        newlines, inner = found.newlines, found.newlines.size - found.ends.size
        self.found.hidden += found.every.size - found.separators.size + inner
        if not inner or not self.width or self.width < 2:
            return
        self.found._inner_lines += inner
        inside = ~np.isin(newlines, found.ends, assume_unique=True)
        per_line = np.diff(np.searchsorted(found.every, newlines), prepend=0)
        like = np.flatnonzero(inside[:-1] & (per_line[1:] == self.width - 1)) + 1
        for each in like[: _SUSPECTS - len(self.found._suspects)]:
            start, end = int(newlines[each - 1]) + 1, int(newlines[each])
            opened = int(found.quotes[np.searchsorted(found.quotes, start) - 1])
            self.found._suspects.append(
                (self._line_of(opened, newlines), self._line + int(each), content[start:end].rstrip(b"\r"))
            )


def _whole_chunks(stream: BinaryIO, limit: int, state: _Scan) -> Iterator[tuple[bytes, bool]]:
    """Pieces of a file that end with a record, and whether each is the last; a beginning of `limit` bytes has none."""
    rest, taken = stream.read(len(_BOM)).removeprefix(_BOM), 0
    while chunk := stream.read(_CHUNK):
        taken += len(chunk)
        rest += chunk
        if cut := state.last_end(rest):
            yield rest[:cut], False
            rest = rest[cut:]
        elif len(rest) > _LONGEST_FIELD:
            break
        if limit and taken >= limit:
            return
    yield rest, True


def _escaped(chunk: _Bytes, quotes: _Places) -> npt.NDArray[np.bool_]:
    """Which quotes stand behind an odd number of backslashes."""
    odd = np.zeros(quotes.size, bool)
    for index in np.flatnonzero((quotes > 0) & (chunk[np.maximum(quotes - 1, 0)] == _BACKSLASH)):
        place = int(quotes[index]) - 1
        length = 0
        while place >= 0 and chunk[place] == _BACKSLASH:
            length, place = length + 1, place - 1
        odd[index] = length % 2 == 1
    return odd


def _nonblank(content: bytes, found: Counted) -> int:
    if not content:
        found.blank += 1
        return 0
    chunk = np.frombuffer(content, np.uint8)
    ends = np.append(np.flatnonzero(chunk == _NEWLINE), chunk.size)
    starts = np.concatenate([[0], ends[:-1] + 1])
    blank = ends == starts
    # Lines that begin with a space may hold nothing else.
    for each in np.flatnonzero(~blank & (chunk[np.minimum(starts, max(chunk.size - 1, 0))] <= 32)):
        blank[each] = not content[starts[each] : ends[each]].strip()
    found.blank += int(blank.sum())
    return int(starts.size - blank.sum())


def _swallowed(path: Path, separator: str, quoting: Quoting, found: Counted) -> Problem | None:
    """Two stray quotes make one field of all rows between them, and each of these rows still looks like a record.

    A line within a quoted field is taken for a record where every column that is written in one shape throughout
    (`u00`, 1600736600) has that shape there too. Without such a column it takes all lines within quoted fields to have
    a record's number of separators.
    """
    shapes = _shapes(path, separator, quoting)
    for opened, line, text in found._suspects:
        values = text.decode("utf-8", "replace").split(separator)
        if len(values) != len(shapes):
            continue
        told = [(shape, value) for shape, value in zip(shapes, values, strict=True) if shape is not None]
        alike = all(shape_of(value) == shape for shape, value in told)
        if (told and alike) or (not told and len(found._suspects) == found._inner_lines):
            what = f"a quoted field opens in line {opened} and swallows lines that look like records"
            return Problem(opened, f"{what}, such as line {line}: {_shown(text)}")
    return None


def _shapes(path: Path, separator: str, quoting: Quoting) -> list[str | None]:
    """The shape of each column, where nine of ten values have the same with a digit; of the first thousand records.

    Of those on one line, if there are some; else of all lines, as every record may lie in one field.
    """
    with path.open("rb") as stream:
        text = stream.read(_HEAD).decode("utf-8-sig", "replace")
    escape = "\\" if quoting == "backslash" else None
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, escapechar=escape, doublequote=escape is None)
    header: list[str] = []
    single: list[list[str]] = []
    try:
        header = next(rows, [])
        for row in islice(rows, _SUSPECTS):
            if len(row) == len(header) and not any("\n" in value for value in row):
                single.append(row)
    except csv.Error:
        pass
    if len(single) < _FEW:
        lines = (line.split(separator) for line in text.splitlines()[1:])
        single = [row for row in islice(lines, _SUSPECTS) if len(row) == len(header)]
    shapes: list[str | None] = []
    for column in zip(*single, strict=True):
        shape, most = Counter(map(shape_of, column)).most_common(1)[0]
        shapes.append(shape if most * 10 >= len(column) * 9 and "9" in shape else None)
    return shapes


def shape_of(value: str) -> str:
    """`u00` and `u7` -> `a9`: runs of digits and of letters, everything else as it is."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", value.strip().strip('"')))


def _around(chunk: _Bytes, place: int) -> str:
    """The line at `place`, shortened, for people."""
    content = chunk[max(place - 60, 0) : place + 60].tobytes()
    before, after = content[: min(place, 60)], content[min(place, 60) :]
    return _shown(before[before.rfind(b"\n") + 1 :] + after.partition(b"\n")[0])


def _shown(line: bytes) -> str:
    return repr(line.decode("utf-8", "replace").rstrip("\r\n")[:120])

"""Where the fields and records of a delimited text file end, from its bytes alone, and where its quoting goes wrong.

Three dialects:

- `rfc4180`: a quote opens a field at its first character and closes it at its last; within, a quote is doubled.
- `backslash`: the same, but a backslash stands before a quote (or a backslash) within (MySQL, Spark).
- `unquoted`: a quote is a character like any other, and every line is a record.

In all of them every record has as many fields as the first line. Positions are found with numpy, some hundred MB/s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from components.settings.params import Quoting

CHUNK = 1 << 22
_LONGEST_FIELD = 1 << 26
"""A quoted field of more bytes than this has lost its end."""
NEWLINE, _RETURN, _QUOTE, _BACKSLASH = b'\n\r"\\'
SUSPECTS = 1000
"""Lines within quoted fields that are looked at, whether they are records."""
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
    suspects: list[tuple[int, int, bytes]] = field(default_factory=list)
    """Lines within quoted fields that have a record's separators: where the field opens, the line, its text."""
    inner_lines: int = 0
    """All lines that begin within a quoted field."""


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


class Scan:
    """Chunk after chunk of whole records; where in the file we are, and what was found so far."""

    def __init__(self, separator: int, quoting: Quoting, header: bool, width: int | None, found: Counted) -> None:
        self.separator, self.quoting, self.found = separator, quoting, found
        self.width, self._header_line = width, b""
        self._line = 1  # the number of the chunk's first line
        self._wants_header = header

    def structure(self, chunk: _Bytes) -> _Structure:
        """Where the fields and records of a chunk end; quotes behind a backslash are none."""
        every, newlines = np.flatnonzero(chunk == self.separator), np.flatnonzero(chunk == NEWLINE)
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
            while quotes % 2 and end and steps < SUSPECTS:
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
            self.found.last_line = shown(content[content.rfind(b"\n") + 1 :])
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
        before = np.where(opens > 0, chunk[opens - 1], NEWLINE)
        doubled = (before == _QUOTE) & (opens > 0)
        if opens.size > 1:  # behind a closing quote, not behind one that a backslash made a character
            doubled[1:] &= closes[: opens.size - 1] == opens[1:] - 1
        self.found.doubled += int(doubled.sum())
        self.found.quoted += int(opens.size - doubled.sum())
        wrong_open = opens[(before != self.separator) & (before != NEWLINE) & ~doubled]
        after = chunk[np.minimum(closes + 1, chunk.size - 1)]
        right = (after == self.separator) | (after == NEWLINE) | (after == _RETURN)
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
        for each in short[:SUSPECTS]:
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
        self.found.inner_lines += inner
        inside = ~np.isin(newlines, found.ends, assume_unique=True)
        per_line = np.diff(np.searchsorted(found.every, newlines), prepend=0)
        like = np.flatnonzero(inside[:-1] & (per_line[1:] == self.width - 1)) + 1
        for each in like[: SUSPECTS - len(self.found.suspects)]:
            start, end = int(newlines[each - 1]) + 1, int(newlines[each])
            opened = int(found.quotes[np.searchsorted(found.quotes, start) - 1])
            self.found.suspects.append(
                (self._line_of(opened, newlines), self._line + int(each), content[start:end].rstrip(b"\r"))
            )


def whole_chunks(stream: BinaryIO, limit: int, state: Scan) -> Iterator[tuple[bytes, bool]]:
    """Pieces of a file that end with a record, and whether each is the last; a beginning of `limit` bytes has none."""
    rest, taken = stream.read(len(_BOM)).removeprefix(_BOM), 0
    while chunk := stream.read(CHUNK):
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


def _around(chunk: _Bytes, place: int) -> str:
    """The line at `place`, shortened, for people."""
    content = chunk[max(place - 60, 0) : place + 60].tobytes()
    before, after = content[: min(place, 60)], content[min(place, 60) :]
    return shown(before[before.rfind(b"\n") + 1 :] + after.partition(b"\n")[0])


def shown(line: bytes) -> str:
    return repr(line.decode("utf-8", "replace").rstrip("\r\n")[:120])

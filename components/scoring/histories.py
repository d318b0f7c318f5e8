"""Read a file of histories of any supported format as a stream of record batches `user_id, history, times`.

    for batch in read_histories(Path("histories.parquet")):
        batch["user_id"], batch["history"]          # string; list<string>, oldest first
        batch["times"]                              # list<double>, seconds since 1970 of each item, or null

The file is never all in memory. Two layouts, in every format: the columns user_id and history, or user_id and item_id
(one row an interaction, the rows of a user together and in order: `interactions.parquet`). Formats: Parquet; JSON
lines, {"user_id": "u1", "history": ["B1", "B7"]}; CSV or TSV with a header, the items of `history` separated by spaces.
JSON lines and CSV may end in .gz or .zst.

Times are read where their unit is beyond doubt: in Parquet from a column `timestamp` of a time type beside item_id, or
from a column `times` of lists of such beside history; everywhere else a user has none.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from components.errors import BadInput

USER, HISTORY, ITEM, TIMES = "user_id", "history", "item_id", "times"
SCHEMA = pa.schema(
    [
        pa.field(USER, pa.string(), nullable=False),
        pa.field(HISTORY, pa.list_(pa.string()), False),
        pa.field(TIMES, pa.list_(pa.float64())),
    ]
)
_TIME = "timestamp"
"""Column of the time of an interaction."""
_ROWS = 65_536
"""Rows of a Parquet file at a time; a few megabytes."""
_BLOCK_BYTES = 4 << 20
"""Bytes of a text file at a time; a longer line is refused by the reader."""
_MEND = "give the columns user_id and history, or user_id and item_id (components/scoring/histories.py describes them)"

Batches = Iterator[pa.RecordBatch]


def read_histories(path: Path) -> Batches:
    """Stream `path` in the order of its rows. Raises `BadInput`, with the row where there is one, for what is broken.

    A history may be empty; a user without a name or without a history, or an item without a name, is refused.
    """
    reader = _reader(path)
    row = 0
    try:
        for batch in reader(path):
            yield _checked(batch, path, row)
            row += batch.num_rows
    except FileNotFoundError as error:
        raise BadInput("there is no such file", where=str(path), mend="give the path of a file of histories") from error
    except (pa.ArrowException, OSError, EOFError) as error:
        raise BadInput(f"cannot be read after {row} users: {error}", where=str(path), mend=_MEND) from error


def _reader(path: Path) -> Callable[[Path], Batches]:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in (".gz", ".zst"):
        suffixes.pop()
    readers = {".parquet": _parquet, ".jsonl": _json, ".ndjson": _json, ".csv": _csv, ".tsv": _csv}
    if not suffixes or suffixes[-1] not in readers:
        raise BadInput(
            f"the format of {path.name} is not known",
            where=str(path),
            mend=f"name it {', '.join(readers)}; text may end in .gz or .zst",
        )
    return readers[suffixes[-1]]


def _parquet(path: Path) -> Batches:
    with pq.ParquetFile(path) as file:
        wanted = _wanted(file.schema_arrow.names, path)
        time = _TIME if ITEM in wanted else TIMES
        timed = file.schema_arrow.names.count(time) == 1 and _is_time(file.schema_arrow.field(time).type)
        batches = file.iter_batches(batch_size=_ROWS, columns=[*wanted, *([time] if timed else [])])
        yield from (_named(batch) for batch in batches) if HISTORY in wanted else _grouped(batches)


def _grouped(interactions: Batches) -> Batches:
    """One row an interaction -> one row a user; the last user of a batch may go on in the next one."""
    kinds = pa.schema([(USER, pa.string()), (ITEM, pa.string()), (_TIME, pa.float64())])
    rest = kinds.empty_table()
    for batch in interactions:
        for name in (USER, ITEM):
            if not _may_be_id(batch[name].type):
                raise pa.ArrowInvalid(f"{name} holds {batch[name].type}, not {kinds.field(name).type}")
        names = batch.schema.names
        times = _seconds(batch[_TIME]) if _TIME in names else pa.nulls(len(batch), pa.float64())
        piece = pa.table([batch[USER].cast(pa.string()), batch[ITEM].cast(pa.string()), times], kinds)
        rows = pa.concat_tables([rest, piece]).combine_chunks()
        users = pc.fill_null(rows[USER], "")  # `_checked` refuses it
        changes = pc.not_equal(users[1:], users[:-1]).to_numpy()
        starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
        yield _by_user(rows, starts)
        rest = rows.slice(starts[-1])
    if rest.num_rows:
        yield _by_user(rest, np.array([0, rest.num_rows]))


def _by_user(rows: pa.Table, starts: np.ndarray) -> pa.RecordBatch:
    """The users whose rows lie between two of `starts`."""
    ends = pa.array(starts, pa.int32())
    items, times = (
        pa.ListArray.from_arrays(ends, rows[name].combine_chunks().slice(0, int(starts[-1]))) for name in (ITEM, _TIME)
    )
    users = rows[USER].combine_chunks().take(starts[:-1])
    return _named(pa.record_batch({USER: users, HISTORY: items, TIMES: times}))


def _json(path: Path) -> Batches:
    kinds = {USER: pa.string(), ITEM: pa.string(), HISTORY: pa.list_(pa.string())}
    wanted = [USER, ITEM if _rows_are_interactions(path) else HISTORY]
    with (
        pa.input_stream(path, compression="detect") as stream,
        pyarrow.json.open_json(
            stream,
            read_options=pyarrow.json.ReadOptions(block_size=_BLOCK_BYTES),
            parse_options=pyarrow.json.ParseOptions(
                explicit_schema=pa.schema([(name, kinds[name]) for name in wanted]),
                unexpected_field_behavior="ignore",
            ),
        ) as batches,
    ):
        yield from map(_named, batches) if HISTORY in wanted else _grouped(batches)


def _rows_are_interactions(path: Path) -> bool:
    """Whether the first JSON line has an item and no history. What is no JSON is left to the reader, which names it."""
    try:
        first = json.loads(_first_line(path))
    except ValueError:
        return False
    return isinstance(first, dict) and ITEM in first and HISTORY not in first


def _csv(path: Path) -> Batches:
    parsing = pyarrow.csv.ParseOptions(delimiter="\t" if ".tsv" in [end.lower() for end in path.suffixes] else ",")
    reading = pyarrow.csv.ReadOptions(block_size=_BLOCK_BYTES)
    wanted = _wanted(_header(path, reading, parsing), path)
    interactions = ITEM in wanted
    with (
        pa.input_stream(path, compression="detect") as stream,
        pyarrow.csv.open_csv(
            stream,
            read_options=reading,
            parse_options=parsing,
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=wanted,
                column_types=dict.fromkeys(wanted, pa.string()),
                # A history may be empty, an item may not.
                strings_can_be_null=interactions,
                null_values=[""],
            ),
        ) as batches,
    ):
        if interactions:
            yield from _grouped(batches)
            return
        for batch in batches:
            cells = batch[HISTORY].to_pylist()
            if any(cell.startswith("[") for cell in cells):
                raise BadInput(
                    "the histories are written as lists",
                    where=str(path),
                    mend="separate the items of a history by spaces, or write JSON lines",
                )
            histories = pa.array([cell.split() for cell in cells], SCHEMA.field(HISTORY).type)
            yield _named(pa.record_batch({USER: batch[USER], HISTORY: histories}))


def _header(path: Path, reading: pyarrow.csv.ReadOptions, parsing: pyarrow.csv.ParseOptions) -> list[str]:
    """The names of all columns. The reader of two of them takes either one of two that are named alike."""
    with pyarrow.csv.open_csv(pa.BufferReader(_first_line(path)), reading, parsing) as header:
        return list(header.schema.names)


def _first_line(path: Path) -> bytes:
    """The first line that is not empty; b"" where there is none."""
    with pa.input_stream(path, compression="detect") as stream:
        return next((line for line in io.BufferedReader(stream) if line.strip()), b"")


def _wanted(columns: Sequence[str], path: Path) -> list[str]:
    """The two columns to read: of rows that are interactions, or of rows that are users."""
    wanted = [USER, ITEM if ITEM in columns and HISTORY not in columns else HISTORY]
    _refuse_unless_once(wanted, columns, path)
    return wanted


def _named(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The columns of `SCHEMA`; ids may be any string type or whole numbers, alone or in a dictionary."""
    wanted = {USER: pa.string(), HISTORY: pa.list_(pa.string())}
    lists = batch[HISTORY].type
    inside = lists.value_type if pa.types.is_nested(lists) and hasattr(lists, "value_type") else lists
    for name, kind in ((USER, batch[USER].type), (HISTORY, inside)):
        if not _may_be_id(kind) or (name == HISTORY and inside is lists and not pa.types.is_null(lists)):
            raise pa.ArrowInvalid(f"{name} holds {batch[name].type}, not {wanted[name]}")
    columns = {name: batch[name].cast(kind) for name, kind in wanted.items()}
    return pa.record_batch([*columns.values(), _times(batch)], SCHEMA.names)


def _times(batch: pa.RecordBatch) -> pa.ListArray:
    """Seconds of each item; null for a user of whom a time is missing, or who has not as many as items."""
    if TIMES not in batch.schema.names:
        return pa.nulls(len(batch), SCHEMA.field(TIMES).type)
    given = batch[TIMES]
    seconds = pa.ListArray.from_arrays(_offsets(given), _seconds(pc.list_flatten(given)))
    whole = np.ones(len(batch), bool)
    whole[pc.list_parent_indices(seconds).filter(pc.is_null(pc.list_flatten(seconds))).to_numpy()] = False
    whole &= pc.fill_null(pc.equal(pc.list_value_length(given), pc.list_value_length(batch[HISTORY])), False).to_numpy(
        zero_copy_only=False
    )
    return pc.if_else(pa.array(whole), seconds, pa.scalar(None, seconds.type))


def _offsets(lists: pa.Array) -> pa.Array:
    """[rows + 1] where the values of each row begin in the flattened ones; a missing row has none."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())


def _seconds(times: pa.Array) -> pa.Array:
    """Seconds since 1970 as float64, of a time type, or of seconds."""
    if not pa.types.is_timestamp(times.type):
        return times.cast(pa.float64())
    return pc.divide(times.cast(pa.timestamp("us", times.type.tz)).cast(pa.int64()).cast(pa.float64()), 1e6)


def _is_time(kind: pa.DataType) -> bool:
    inside = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind
    return bool(pa.types.is_timestamp(inside))


def _may_be_id(kind: pa.DataType) -> bool:
    """Not a float: 5.0 is no name of item 5. An array without values is of the type null."""
    is_a = pa.types
    kind = kind.value_type if is_a.is_dictionary(kind) else kind
    known = (is_a.is_string, is_a.is_large_string, is_a.is_string_view, is_a.is_integer, is_a.is_null)
    return any(of_kind(kind) for of_kind in known)


def _checked(batch: pa.RecordBatch, path: Path, row: int) -> pa.RecordBatch:
    """Refuse what is missing in a batch whose first row is `row` of the file."""
    unnamed = pc.or_kleene(pc.is_null(batch[USER]), pc.equal(pc.fill_null(batch[USER], ""), ""))
    parents = pc.list_parent_indices(batch[HISTORY])
    nameless = parents.filter(pc.is_null(pc.list_flatten(batch[HISTORY])))
    for what, rows in (
        ("a user without an id", np.flatnonzero(unnamed)),
        ("a user without a history", np.flatnonzero(pc.is_null(batch[HISTORY]))),
        ("an item without an id", nameless.to_numpy()),
    ):
        if len(rows):
            mend = "write [] (in CSV: nothing) for a user without items" if "history" in what else _MEND
            raise BadInput(what, where=f"{path}, user number {row + int(rows[0])} (from 0)", mend=mend)
    return batch.cast(SCHEMA)


def _refuse_unless_once(wanted: Sequence[str], columns: Sequence[str], path: Path) -> None:
    found = {name: columns.count(name) for name in wanted}
    wrong = [f"{count or 'no'} column{'s' * (count > 1)} {name}" for name, count in found.items() if count != 1]
    if wrong:
        raise BadInput(" and ".join(wrong), where=str(path), mend=_MEND)

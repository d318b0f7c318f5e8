"""Files of histories: every format gives the same users, and what is broken is said with its place."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.errors import BadInput
from components.progress import Progress
from components.scoring import histories
from components.scoring.histories import read_histories
from components.scoring.split import split
from components.storage.manifest import sha256

USERS = {"u3": ["B1", "B2"], "u1": [], "ü2": ["B3"]}
FRAME = pl.DataFrame({"user_id": list(USERS), "history": list(USERS.values())})


def read(path: Path) -> dict[str, list[str]]:
    return {row["user_id"]: row["history"] for batch in read_histories(path) for row in batch.to_pylist()}


def write(path: Path) -> None:
    """`USERS` in the format of the name."""
    lines = "".join(json.dumps({"user_id": u, "history": h, "more": 1}) + "\n" for u, h in USERS.items())
    mark = "\t" if ".tsv" in path.name else ","
    table = mark.join(["user_id", "history"]) + "\n" + "".join(f"{u}{mark}{' '.join(h)}\n" for u, h in USERS.items())
    if path.suffix == ".parquet":
        FRAME.write_parquet(path)
    else:
        text = (lines if ".jsonl" in path.name else table).encode()
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


@pytest.mark.parametrize("name", ["h.parquet", "h.jsonl", "h.jsonl.gz", "h.csv", "h.csv.gz", "h.tsv"])
def test_every_format_gives_the_same_users(tmp_path: Path, name: str) -> None:
    """Prevents a reader that drops empty histories, reorders users or garbles names."""
    write(tmp_path / name)
    assert list(read(tmp_path / name).items()) == list(USERS.items())


@pytest.mark.parametrize("name", ["i.parquet", "i.jsonl", "i.jsonl.gz", "i.csv", "i.csv.gz", "i.tsv"])
def test_every_format_may_have_an_interaction_a_row(tmp_path: Path, name: str) -> None:
    """Prevents a help text that promises `user_id, item_id` in CSV and a reader that takes it in Parquet alone."""
    pairs = [{"user_id": user, "item_id": item, "event": "buy"} for user, items in USERS.items() for item in items]
    frame, path = pl.DataFrame(pairs), tmp_path / name
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        text = frame.write_ndjson() if ".jsonl" in name else frame.write_csv(separator="\t" if ".tsv" in name else ",")
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    assert read(path) == {user: items for user, items in USERS.items() if items}


MOMENTS = {"u3": [10.5, 20.0], "u1": [], "ü2": [30.0]}


def moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


@pytest.mark.parametrize("batch", [1, 100])
def test_times_are_read_where_their_unit_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """Prevents scores of a ranker that is not told when things were taken: other lists than those it was judged by."""
    monkeypatch.setattr(histories, "_ROWS", batch)
    times = [[moment(each) for each in MOMENTS[user]] for user in USERS]
    FRAME.with_columns(pl.Series("times", times, pl.List(pl.Datetime("us", "UTC")))).write_parquet(
        tmp_path / "h.parquet"
    )
    assert times_of(tmp_path / "h.parquet") == MOMENTS
    rows = [(u, i, moment(t)) for u, items in USERS.items() for i, t in zip(items, MOMENTS[u], strict=True)]
    schema = {"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Datetime("ms", "UTC")}
    pl.DataFrame(rows, schema, orient="row").write_parquet(tmp_path / "i.parquet")
    assert times_of(tmp_path / "i.parquet") == {user: times for user, times in MOMENTS.items() if times}


@pytest.mark.parametrize("wrong", [[[10.5], [], [30.0]], [[10.5, None], [], [30.0]], [None, [], [30.0]]])
def test_a_user_whose_times_are_not_whole_has_none(tmp_path: Path, wrong: list[list[float | None] | None]) -> None:
    """Prevents the time of one item given to another."""
    times = [None if row is None else [moment(each) for each in row] for row in wrong]
    FRAME.with_columns(pl.Series("times", times, pl.List(pl.Datetime("us", "UTC")))).write_parquet(
        tmp_path / "h.parquet"
    )
    assert times_of(tmp_path / "h.parquet") == {**MOMENTS, "u3": None}


def test_numbers_are_no_times(tmp_path: Path) -> None:
    """Prevents milliseconds read as seconds: a column of numbers does not say which it holds."""
    FRAME.with_columns(pl.Series("times", [[1, 2], [], [3]])).write_parquet(tmp_path / "h.parquet")
    assert set(times_of(tmp_path / "h.parquet").values()) == {None}


def times_of(path: Path) -> dict[str, list[float] | None]:
    return {row["user_id"]: row["times"] for batch in read_histories(path) for row in batch.to_pylist()}


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_interactions_become_histories_across_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """Prevents a user cut in two where a batch ends: two rows for one user, each with half a history."""
    monkeypatch.setattr(histories, "_ROWS", batch)
    expected = {f"u{n}": [f"B{n}{m}" for m in range(1 + n * 3 % 5)] for n in range(9)}
    pairs = [(user, item) for user, items in expected.items() for item in items]
    frame = pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row")
    frame.with_row_index("position").write_parquet(tmp_path / "interactions.parquet")
    assert list(read(tmp_path / "interactions.parquet").items()) == list(expected.items())


@pytest.mark.parametrize(
    "frame",
    [
        FRAME.with_columns(pl.col("user_id").cast(pl.Categorical), pl.col("history").cast(pl.List(pl.Categorical))),
        FRAME.to_arrow().cast(pa.schema({"user_id": pa.large_string(), "history": pa.large_list(pa.large_string())})),
    ],
)
def test_other_types_of_strings(tmp_path: Path, frame: pl.DataFrame | pa.Table) -> None:
    """Prevents a refusal of what other writers call a string."""
    pq.write_table(frame if isinstance(frame, pa.Table) else frame.to_arrow(), tmp_path / "h.parquet")
    assert read(tmp_path / "h.parquet") == USERS


def test_whole_numbers_are_ids(tmp_path: Path) -> None:
    """Prevents a conversion by hand where ids are numbers; 5.0 is no name of item 5."""
    pl.DataFrame({"user_id": [1], "history": [[7, 8]]}).write_parquet(tmp_path / "h.parquet")
    assert read(tmp_path / "h.parquet") == {"1": ["7", "8"]}
    pl.DataFrame({"user_id": [1], "history": [[7.0]]}).write_parquet(tmp_path / "h.parquet")
    with pytest.raises(BadInput, match="history holds"):
        read(tmp_path / "h.parquet")


@pytest.mark.parametrize(("column", "ids"), [("user_id", [5.0]), ("item_id", [5.0]), ("item_id", [True])])
def test_ids_of_interactions_are_names_too(tmp_path: Path, column: str, ids: list[object]) -> None:
    """Prevents item 5 as "5.0", a stranger to every model, or as "true"."""
    pq.write_table(pa.table({"user_id": ["u1"], "item_id": ["B1"], column: ids}), tmp_path / "h.parquet")
    with pytest.raises(BadInput, match=f"{column} holds"):
        read(tmp_path / "h.parquet")


def test_other_columns_may_hold_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a night lost to a column that nobody reads, whose ages are numbers up to the first "unknown"."""
    monkeypatch.setattr(histories, "_BLOCK_BYTES", 64)
    users = {f"u{number:02d}": ["B1"] for number in range(30)}
    ages = [*range(29), "unknown"]
    lines = [f"{age},{user},B1\n" for age, user in zip(ages, users, strict=True)]
    (tmp_path / "h.csv").write_text("age,user_id,history\n" + "".join(lines))
    assert read(tmp_path / "h.csv") == users


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """Prevents the histories of whichever column is found, and a KeyError."""
    pq.write_table(
        pa.Table.from_arrays(
            [pa.array(["u1"]), pa.array(["u2"]), pa.array([["B1"]])], ["user_id", "user_id", "history"]
        ),
        tmp_path / "h.parquet",
    )
    with pytest.raises(BadInput, match="2 columns user_id"):
        read(tmp_path / "h.parquet")


PACKED = gzip.compress(b'{"user_id": "u1", "history": ["B1"]}\n' * 500)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.csv", None, "no such file"),
        ("h.xlsx", b"", "format of h.xlsx is not known"),
        ("h.parquet", b"PAR1", "cannot be read"),
        ("h.csv", b"", "Empty CSV"),
        ("h.csv", b"user,history\nu1,B1\n", "no column user_id"),
        ("h.csv", b"user_id,items\nu1,B1\n", "no column history"),
        ("h.csv", b"user,items\nu1,B1\n", "no column user_id and no column history"),
        ("h.csv", b"user_id,history,history\nu1,B1,B2\n", "2 columns history"),
        ("h.csv", b"user_id,history\nu1,B1\nu2\n", "Expected 2 columns"),
        ("h.csv", b"user_id,history\n,B1\n", "a user without an id"),
        ("h.csv", b"user_id,history\nu1,\"['B1', 'B2']\"\n", "written as lists"),
        ("h.jsonl", b'{"user_id": "u1", "history": ["B1"]}\n{"user_id":\n', "JSON parse error"),
        ("h.jsonl", b'{"user_id": "u1"}\n', "a user without a history"),
        ("h.jsonl", b'{"history": ["B1"]}\n', "a user without an id"),
        ("h.jsonl", b'{"user_id": "u1", "history": ["B1", null]}\n', "an item without an id"),
        ("h.jsonl", b'{"user_id": "u1", "history": "B1"}\n', "changed from array to string"),
        ("h.jsonl", b'{"user_id": "u1", "item_id": "B1"}\n{"user_id": "u1"}\n', "an item without an id"),
        ("h.csv", b"user_id,item_id\nu1,B1\nu1,\n", "an item without an id"),
        ("h.csv", b"user_id,item_id\n,B1\n", "a user without an id"),
        ("h.jsonl.gz", PACKED[:-20], "Truncated"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, name: str, text: bytes | None, message: str) -> None:
    """Prevents a traceback from a library, or a night's work on half a file."""
    if text is not None:
        (tmp_path / name).write_bytes(text)
    with pytest.raises(BadInput, match=message) as refused:
        read(tmp_path / name)
    assert name in str(refused.value)


@pytest.mark.parametrize(
    "columns", [{"user_id": ["u1"]}, {"history": [["B1"]]}, {"user_id": ["u1", None], "item_id": ["B1", "B2"]}]
)
def test_parquet_without_a_column_or_a_name_is_refused(tmp_path: Path, columns: dict[str, list[object]]) -> None:
    """Prevents users without a name in the output."""
    pq.write_table(pa.table(columns), tmp_path / "h.parquet")
    with pytest.raises(BadInput, match=r"no column|without an id"):
        read(tmp_path / "h.parquet")


def test_what_is_refused_is_said_with_its_place_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents the number of a healthy user in an error from the third batch on."""
    monkeypatch.setattr(histories, "_ROWS", 2)
    users = [*(f"u{number}" for number in range(5)), None]
    pq.write_table(pa.table({"user_id": users, "history": [["B1"]] * 6}), tmp_path / "h.parquet")
    with pytest.raises(BadInput, match=r"user number 5 \(from 0\)"):
        read(tmp_path / "h.parquet")


def split_here(folder: Path, *, shard_users: int) -> None:
    source = folder / "h.parquet"
    split(source, folder / "parts", content=sha256(source), shard_users=shard_users, progress=Progress())


@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_shards_are_rows_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Prevents users lost between a batch of the reader and a shard."""
    monkeypatch.setattr(histories, "_ROWS", 5)
    users = [f"u{n:02d}" for n in range(12)]
    pl.DataFrame({"user_id": users, "history": [[user] for user in users]}).write_parquet(tmp_path / "h.parquet")
    split_here(tmp_path, shard_users=size)
    parts = [pq.read_table(file)["user_id"].to_pylist() for file in sorted((tmp_path / "parts").glob("*.parquet"))]
    assert parts == [users[start : start + size] for start in range(0, 12, size)]


def test_no_users_are_refused(tmp_path: Path) -> None:
    """Prevents an empty output in place of yesterday's."""
    FRAME.clear().write_parquet(tmp_path / "h.parquet")
    with pytest.raises(BadInput, match="no users"):
        split_here(tmp_path, shard_users=3)
    assert not (tmp_path / "parts").exists()

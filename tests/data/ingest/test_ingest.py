"""Bad input: always a `BadInput` with what, where and how to mend it, and the artifacts of the last run untouched."""

from __future__ import annotations

import errno
import gzip
import random
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from components.data.ingest import rawfiles
from components.data.ingest.ingest import ingest
from components.errors import BadInput
from components.settings.file import from_dict
from components.settings.params import Ingest
from components.storage.layout import Layout

ITEMS = '{"item_id": "a", "title": "Tea"}\n{"item_id": "b", "title": "Cup"}\n'
ROWS = "user_id,item_id,timestamp,rating\nu1,a,1700000000,5\nu1,b,1700000100,4\nu2,a,1700000200,3\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace with sound raw files that were ingested once."""
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "items.jsonl").write_text(ITEMS)
    (raw / "interactions.csv").write_text(ROWS)
    ingest(Ingest(format="table"), raw, Layout(tmp_path, "shop"))
    return tmp_path


def published(workspace: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((workspace / "artifacts").rglob("*")) if path.is_file()}


def refused(workspace: Path, *parts: str, **settings: Any) -> BadInput:
    """Ingest must fail with all of `parts` in its message and leave everything published as it was."""
    before = published(workspace)
    assert sorted(before) == [
        "interactions.parquet",
        "items.parquet",
        "media.parquet",
        "relations.parquet",
        "report.json",
    ]
    with pytest.raises(BadInput) as caught:
        ingest(Ingest(**{"format": "table", **settings}), workspace / "raw", Layout(workspace, "shop"))
    for part in parts:
        assert part in str(caught.value), str(caught.value)
    assert caught.value.exit_code == 2
    assert published(workspace) == before
    return caught.value


def test_missing_folder(workspace: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        ingest(Ingest(format="table"), workspace / "nowhere", Layout(workspace, "shop"))


def test_empty_folder(workspace: Path) -> None:
    (workspace / "empty").mkdir()
    with pytest.raises(BadInput, match="is empty"):
        ingest(Ingest(format="table"), workspace / "empty", Layout(workspace, "shop"))


def test_missing_file_names_what_is_there(workspace: Path) -> None:
    refused(workspace, "file is missing", "goods.csv", "interactions.csv, items.jsonl", items="goods.csv")


def test_no_file_of_a_usual_name(workspace: Path) -> None:
    (workspace / "raw" / "interactions.csv").rename(workspace / "raw" / "stuff.csv")
    refused(workspace, "no file looks like the interactions", "ingest.interactions", "stuff.csv")


def test_the_plainest_name_wins(workspace: Path) -> None:
    """Prevents: cart_items.jsonl taken for the item table because it comes first in the alphabet."""
    (workspace / "raw" / "cart_items.jsonl").write_text('{"cart": 1}\n')
    ingest(Ingest(format="table"), workspace / "raw", Layout(workspace, "shop"))


def test_unknown_ending(workspace: Path) -> None:
    (workspace / "raw" / "items.xlsx").write_text("x")
    refused(workspace, "says nothing about its content", "items.xlsx", items="items.xlsx")


@pytest.mark.parametrize("name", ["items.jsonl", "interactions.csv"])
def test_empty_file(workspace: Path, name: str) -> None:
    (workspace / "raw" / name).write_bytes(b"")
    refused(workspace, "file is empty (0 bytes)", name)


def test_empty_archive(workspace: Path) -> None:
    (workspace / "raw" / "items.jsonl").unlink()
    (workspace / "raw" / "items.jsonl.gz").write_bytes(gzip.compress(b""))
    refused(workspace, "file is empty once unpacked", "items.jsonl.gz")


def test_header_without_rows(workspace: Path) -> None:
    (workspace / "raw" / "interactions.csv").write_text("user_id,item_id\n")
    refused(workspace, "holds no interaction", "interactions.csv")


@pytest.mark.parametrize(("separator", "spoken"), [("\t", "tabs"), (";", "semicolons"), ("|", "bars")])
def test_wrong_delimiter(workspace: Path, separator: str, spoken: str) -> None:
    (workspace / "raw" / "interactions.csv").write_text(ROWS.replace(",", separator))
    refused(workspace, f"this one seems to have {spoken}", "interactions.csv")


def test_truncated_gzip(workspace: Path) -> None:
    rows = "".join(f"u{random.Random(n).random()},a,170000{n:04}\n" for n in range(2000))
    packed = gzip.compress(f"user_id,item_id,timestamp\n{rows}".encode())
    (workspace / "raw" / "interactions.csv").unlink()
    (workspace / "raw" / "interactions.csv.gz").write_bytes(packed[: len(packed) // 2])
    refused(workspace, "gzip archive ends in the middle", "interactions.csv.gz")


def test_damaged_gzip(workspace: Path) -> None:
    packed = bytearray(gzip.compress(ROWS.encode() * 500))
    packed[len(packed) // 2] ^= 0xFF
    (workspace / "raw" / "interactions.csv").unlink()
    (workspace / "raw" / "interactions.csv.gz").write_bytes(bytes(packed))
    refused(workspace, "gzip archive", "interactions.csv.gz")


def test_not_gzip_at_all(workspace: Path) -> None:
    (workspace / "raw" / "interactions.csv").rename(workspace / "raw" / "interactions.csv.gz")
    refused(workspace, "not a sound gzip archive", "interactions.csv.gz")


def test_truncated_zstd(workspace: Path) -> None:
    whole = workspace / "whole.zst"
    with pa.output_stream(str(whole), compression="zstd") as stream:
        stream.write(ROWS.encode())
    (workspace / "raw" / "interactions.csv").unlink()
    (workspace / "raw" / "interactions.csv.zst").write_bytes(whole.read_bytes()[:-9])
    refused(workspace, "not a sound zstd archive", "interactions.csv.zst")


def test_full_disk_while_unpacking(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a full temporary folder reported as a damaged archive."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rawfiles, "_copy", full)
    packed = gzip.compress(ROWS.encode())
    (workspace / "raw" / "interactions.csv").unlink()
    (workspace / "raw" / "interactions.csv.gz").write_bytes(packed)
    refused(workspace, "no room to unpack it", "TMPDIR")


def test_look_at_the_beginning_takes_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: `idiom init` unpacking 20 GB of reviews for a look at them, or cutting a line in the middle."""
    monkeypatch.setattr(rawfiles, "_CHUNK", 10)
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"user,item\n" + b"uuuu,iiii\n" * 1000))
    found = rawfiles.prepare(tmp_path / "x.csv.gz", tmp_path, limit=25)
    assert found.path.read_bytes() == b"user,item\nuuuu,iiii\nuuuu,iiii\nuuuu,iiii\n"


def test_broken_json_line_is_named(workspace: Path) -> None:
    good = '{"item_id": "a", "title": "Tea"}\n' * 12_000  # beyond the lines that are looked at for the keys
    (workspace / "raw" / "items.jsonl").write_text(good + '{"item_id": "b", "title": \n' + good)
    refused(workspace, "line 12001 is not JSON", "items.jsonl, line 12001")


def test_json_nan_is_not_json(workspace: Path) -> None:
    (workspace / "raw" / "items.jsonl").write_text(ITEMS + '{"item_id": NaN, "title": "x"}\n')
    refused(workspace, "line 3 is not JSON", "NaN is not a JSON value")


def test_json_array(workspace: Path) -> None:
    (workspace / "raw" / "items.jsonl").write_text('[\n{"item_id": "a"}\n]\n')
    refused(workspace, "one JSON array", "one object a line")


def test_too_many_fields_in_a_row(workspace: Path) -> None:
    (workspace / "raw" / "interactions.csv").write_text(ROWS + "u3,b,1700000300,1,what\n")
    refused(workspace, "line 5 has 5 fields, the first line 4")


def test_open_quote(workspace: Path) -> None:
    (workspace / "raw" / "interactions.csv").write_text(ROWS + '"u3,b,1700000300,1\n')
    refused(workspace, "interactions.csv")


def test_not_utf8(workspace: Path) -> None:
    (workspace / "raw" / "interactions.csv").write_bytes(ROWS.encode() + "ué,b,1700000300,1\n".encode("latin-1"))
    refused(workspace, "not UTF-8 (byte 0xe9)")


def test_column_twice(workspace: Path) -> None:
    (workspace / "raw" / "interactions.csv").write_text("user_id,item_id,item_id\nu1,a,b\n")
    refused(workspace, "column 'item_id' stands twice")


def test_not_parquet(workspace: Path) -> None:
    (workspace / "raw" / "items.parquet").write_text(ITEMS)
    (workspace / "raw" / "items.jsonl").unlink()
    refused(workspace, "not readable as Parquet", "items.parquet")


def test_missing_column_names_those_found_and_the_nearest(workspace: Path) -> None:
    (workspace / "raw" / "interactions.csv").write_text(ROWS.replace("user_id", "reviewerID"))
    refused(
        workspace,
        "column 'user_id' (for user_id) is missing; found: reviewerID, item_id, timestamp, rating",
        "ingest.columns: {user_id: reviewerID}",
    )


def test_mapping_to_a_column_that_is_nowhere(workspace: Path) -> None:
    refused(workspace, "maps title to 'nmae'", columns={"title": "nmae"})


def test_one_column_with_two_meanings(workspace: Path) -> None:
    """Prevents: one of two mappings silently lost."""
    refused(workspace, "maps both title and description to 'title'", columns={"title": "title", "description": "title"})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1700000100", "yesterday", "row 2: 'yesterday'"),
        ("1700000100", "-5", "row 2: '-5'"),
        ("1700000200,3", "1700000200,good", "1 values of rating are not numbers: row 3: 'good'"),
    ],
)
def test_wrong_type_names_the_row(workspace: Path, old: str, new: str, message: str) -> None:
    (workspace / "raw" / "interactions.csv").write_text(ROWS.replace(old, new))
    refused(workspace, message)


@pytest.mark.parametrize("missing", ["", "NaN", "null", "  "])
def test_missing_ids_name_the_rows(workspace: Path, missing: str) -> None:
    (workspace / "raw" / "interactions.csv").write_text(ROWS.replace("u2", missing))
    refused(workspace, "1 rows have no user_id: row 3")


def test_short_row_is_named(workspace: Path) -> None:
    """Prevents: fields that are not there read as empty ones, and those that are there in the wrong column."""
    (workspace / "raw" / "interactions.csv").write_text(ROWS + "u9\nu1,a,1700000000,5\n")
    refused(workspace, "line 5 has 1 fields, the first line 4")


def test_float_ids_are_refused(workspace: Path) -> None:
    """Prevents: item 12345678901234567 becoming 12345678901234568 on its way through a data frame with a NaN in it."""
    (workspace / "raw" / "interactions.csv").unlink()
    pl.DataFrame({"user_id": [1.0, None], "item_id": ["a", "b"]}).write_parquet(
        workspace / "raw" / "interactions.parquet"
    )
    refused(workspace, "column user_id holds floating-point numbers")


@pytest.mark.parametrize("column", ["user_id", "item_id", "timestamp", "rating"])
def test_lists_where_one_value_belongs(workspace: Path, column: str) -> None:
    """Prevents: an error of the tables library instead of the name of the column."""
    (workspace / "raw" / "interactions.csv").unlink()
    sound = pl.DataFrame({"user_id": ["u"], "item_id": ["a"], "timestamp": [1_700_000_000], "rating": [1.0]})
    sound.with_columns(pl.concat_list(column).alias(column)).write_parquet(workspace / "raw" / "interactions.parquet")
    refused(workspace, f"column {column} holds List")


def test_odd_types_of_parquet(tmp_path: Path) -> None:
    """Prevents: a crash on categories as a category type, a title that is a record, bytes, flags."""
    table = pl.DataFrame({"item_id": ["a"], "title": ["Tea"], "colour": ["red"], "raw": [b"\xff"], "new": [True]})
    table = table.with_columns(
        pl.col("colour").cast(pl.Categorical), brand=pl.struct(name=pl.lit("x")), price=pl.struct(usd=pl.lit(5))
    )
    table.write_parquet(tmp_path / "items.parquet")
    (tmp_path / "interactions.csv").write_text(ROWS)
    report = ingest(Ingest(format="table"), tmp_path, Layout(tmp_path, "shop"))
    assert report["items"]["columns"] == ["item_id", "title", "colour"]
    assert report["items"]["columns_left_out"] == ["brand", "new", "price", "raw"]


def test_a_title_that_is_no_text(tmp_path: Path) -> None:
    """Prevents: a crash, or a table without the title column that every later stage relies on."""
    pl.DataFrame({"item_id": ["a"], "title": [{"en": "Tea"}], "colour": ["red"]}).write_parquet(
        tmp_path / "items.parquet"
    )
    (tmp_path / "interactions.csv").write_text(ROWS)
    report = ingest(Ingest(format="table"), tmp_path, Layout(tmp_path, "shop"))
    assert report["items"]["columns_left_out"] == []  # it is there, but empty, and counted as such:
    assert report["items"]["without_title"] == 2


def test_item_without_id(workspace: Path) -> None:
    (workspace / "raw" / "items.jsonl").write_text(ITEMS + '{"item_id": null, "title": "x"}\n')
    refused(workspace, "1 rows have no item_id: row 3", "items.jsonl")


def test_min_rating_without_ratings(workspace: Path) -> None:
    (workspace / "raw" / "interactions.csv").write_text("user_id,item_id\nu1,a\n")
    refused(workspace, "no rating column", min_rating=4.0)


def test_min_rating_that_leaves_nothing(workspace: Path) -> None:
    refused(workspace, "rating of 9.0 or more (the highest is 5.0)", min_rating=9.0)


def test_unknown_format(workspace: Path) -> None:
    refused(workspace, "unknown format 'excel'", "table", format="excel")
    with pytest.raises(BadInput, match=r"ingest\.format"):
        from_dict({"ingest": {"format": "excel"}})


@pytest.mark.parametrize("key", ["path", "items", "interactions"])
def test_paths_stay_in_the_workspace(key: str) -> None:
    for path in ("../elsewhere", "/etc/passwd", "a/../../b"):
        with pytest.raises(BadInput, match="leaves the workspace"):
            from_dict({"ingest": {key: path}})


def order_of(workspace: Path, rows: str, **settings: Any) -> tuple[dict[str, list[str]], dict[str, Any]]:
    (workspace / "raw" / "interactions.csv").write_text(rows)
    report = ingest(Ingest(format="table", **settings), workspace / "raw", Layout(workspace, "shop"))
    table = pl.read_parquet(Layout(workspace, "shop").interactions)
    assert table.schema == {
        "user_id": pl.String,
        "item_id": pl.String,
        "position": pl.Int32,
        "timestamp": pl.Datetime("us", "UTC"),
    }
    for positions in table.group_by("user_id").agg("position")["position"].to_list():
        assert positions == list(range(len(positions)))
    return dict(table.group_by("user_id", maintain_order=True).agg("item_id").iter_rows()), report["interactions"]


def test_position_is_the_order_and_disagreement_with_time_is_counted(workspace: Path) -> None:
    """Prevents: a given order overruled by day-resolution times, or its contradictions unseen."""
    rows = "user_id,item_id,pos,timestamp\nu,a,2,100\nu,b,10,50\nu,c,1,200\nv,a,0,5\n"
    histories, facts = order_of(workspace, rows, columns={"position": "pos"})
    assert histories == {"u": ["c", "a", "b"], "v": ["a"]}  # 10 after 2: numbers, not text
    assert (facts["order"], facts["steps_back_in_time"], facts["users_back_in_time"]) == ("position", 2, 1)


def test_a_position_with_gaps_is_no_order(workspace: Path) -> None:
    """Prevents: rows without a position put first, as nulls sort."""
    histories, facts = order_of(workspace, "user_id,item_id,position,timestamp\nu,a,2,1\nu,b,,2\nu,c,1,3\n")
    assert histories == {"u": ["a", "b", "c"]}
    assert (facts["order"], facts["rows_without_position"]) == ("timestamp", 1)


def test_ties_in_time_keep_file_order(workspace: Path) -> None:
    """Prevents: an unstable sort that shuffles what was bought on one day."""
    letters = [chr(97 + n) for n in range(26)][::-1]
    rows = "user_id,item_id,timestamp\n" + "".join(f"u,{letter},2024-01-01\n" for letter in letters)
    histories, facts = order_of(workspace, rows)
    assert histories == {"u": letters}
    assert (facts["order"], facts["steps_at_the_same_time"]) == ("timestamp", 25)


def test_user_with_a_time_missing_keeps_file_order(workspace: Path) -> None:
    """Prevents: rows without a time put first, as nulls sort."""
    rows = "user_id,item_id,timestamp\nu,a,300\nu,b,\nu,c,100\nv,a,2\nv,b,1\n"
    (workspace / "raw" / "interactions.csv").write_text(rows)
    refused(workspace, "the order of 1 users is not known", "row 2", "ingest.order: file")
    histories, facts = order_of(workspace, rows, order="file")
    assert histories == {"u": ["a", "b", "c"], "v": ["b", "a"]}
    assert (facts["users_in_file_order"], facts["rows_without_time"]) == (1, 1)


def test_without_time_and_position_file_order_is_the_order_only_where_somebody_says_so(workspace: Path) -> None:
    """Prevents: an order that nobody knows to be one taken for what happened."""
    rows = "user_id,item_id\nu,c\nv,b\nu,a\n"
    (workspace / "raw" / "interactions.csv").write_text(rows)
    refused(workspace, "the order of the histories is not known", "ingest.order: file")
    histories, facts = order_of(workspace, rows, order="file")
    assert histories == {"u": ["c", "a"], "v": ["b"]}
    assert facts["order"] == "file"
    assert "file order" in (workspace / "artifacts" / "shop" / "ingest" / "report.json").read_text()


@pytest.mark.parametrize(
    ("written", "unit"),
    [
        ("1700000000", "s"),
        ("1700000000.0", "s"),
        ("1700000000000", "ms"),
        ("1700000000000000", "us"),
        ("2023-11-14T22:13:20Z", "iso"),
        ("2023-11-14 22:13:20", "iso"),
        ("2023-11-15T03:43:20+05:30", "iso"),
    ],
)
def test_units_of_time(workspace: Path, written: str, unit: str) -> None:
    """Prevents: milliseconds read as seconds (the year 55840), offsets dropped."""
    _, facts = order_of(workspace, f"user_id,item_id,timestamp\nu,a,{written}\n")
    assert (facts["time_unit"], facts["first_time"]) == (unit, "2023-11-14T22:13:20Z")


def test_same_input_same_bytes(workspace: Path) -> None:
    """Prevents: a clock, a random name or a thread's order in an artifact; DVC would then see changes."""
    before = published(workspace)
    ingest(Ingest(format="table"), workspace / "raw", Layout(workspace, "shop"))
    assert published(workspace) == before


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "interactions", "order"),
    [
        ("amazon-beauty", 198_502, "position"),
        ("amazon-scientific", 58_492, "position"),
        ("amazon-toys", 167_597, "position"),
    ],
)
def test_real_data(shared_data: Path, tmp_path: Path, name: str, interactions: int, order: str) -> None:
    """Prevents: the oddities of real data (nested lists, no times, empty titles) crashing `ingest`."""
    separator = "," if name == "amazon-scientific" else None
    settings = Ingest(format="table", columns={"position": "pos"}, list_separator=separator)
    report = ingest(settings, shared_data / name, Layout(tmp_path, name))
    assert (report["interactions"]["interactions"], report["interactions"]["order"]) == (interactions, order)
    items = pl.read_parquet(Layout(tmp_path, name).items)
    assert items["item_id"].is_sorted()
    assert items["categories"].list.len().median() >= 3

"""Raw files that are almost of a known layout: a message that says what is missing, never a traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from components.data.ingest.ingest import ingest
from components.errors import BadInput
from components.settings.params import Ingest
from components.storage.layout import Layout

FIXTURES = Path(__file__).parent / "fixtures"


def refused(tmp_path: Path, folder: str, message: str, *, format: str, edit: dict[str, bytes | None]) -> None:
    """A copy of a fixture with files replaced (None: removed) must be refused with `message`."""
    raw = tmp_path / "raw"
    shutil.copytree(FIXTURES / folder, raw)
    for name, content in edit.items():
        (raw / name).unlink(missing_ok=True)
        if content is not None:
            (raw / name).write_bytes(content)
    layout = Layout(tmp_path, "small")
    with pytest.raises(BadInput, match=message):
        ingest(Ingest(format=format), raw, layout)  # type: ignore[arg-type]
    assert not layout.root.exists()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"meta_Beauty.json": None}, "no file is the items"),
        ({"meta_Toys.json": b"{}\n"}, "2 files could be the items: meta_Beauty.json, meta_Toys.json"),
        ({"Toys.json": b"{}\n"}, "2 files could be the interactions"),
        ({"reviews_Beauty_5.json": b'{"reviewer": "x", "asin": "y"}\n'}, "no key user_id or reviewerID"),
        ({"meta_Beauty.json": b'{"name": "x"}\n'}, "no key parent_asin or asin"),
        ({"meta_Beauty.json": b"{'asin': 'x'}\n{'asin': 'y', \n"}, "line 2 is neither a Python dict nor a JSON"),
        ({"meta_Beauty.json": b"{'asin': '\xe9'}\n"}, "not UTF-8"),
    ],
)
def test_amazon(tmp_path: Path, edit: dict[str, bytes | None], message: str) -> None:
    refused(tmp_path, "amazon-2014", message, format="amazon", edit=edit)


def test_amazon_2023_rating_table(tmp_path: Path) -> None:
    """Prevents: the 5-core tables of 2023, which are CSV without review text, being refused."""
    raw = tmp_path / "raw"
    shutil.copytree(FIXTURES / "amazon-2023", raw)
    (raw / "All_Beauty.jsonl").unlink()
    (raw / "All_Beauty.csv").write_text(
        "user_id,parent_asin,rating,timestamp\nu,B00YQ6X8EO,5.0,1588687728923\nu,B081TJ8YS3,4.0,1588615855070\n"
    )
    ingest(Ingest(format="amazon"), raw, Layout(tmp_path, "small"))
    assert pl.read_parquet(Layout(tmp_path, "small").interactions)["item_id"].to_list() == ["B081TJ8YS3", "B00YQ6X8EO"]


@pytest.mark.parametrize(
    ("folder", "edit", "message"),
    [
        ("ml-100k", {"u.item": None}, "no file looks like the items"),
        ("ml-100k", {"u.item": b"1|Toy Story|x\n"}, "has 3 columns, expected 24"),
        ("ml-100k", {"u.data": b"1,2,3,4\n"}, "has 1 columns, expected 4"),
        ("ml-1m", {"ratings.dat": b"1::2::3::4\n1::2::3\n"}, "lines without 4 fields between '::': 2"),
        ("ml-1m", {"ratings.dat": b"1::2::3::noon\n"}, "row 1: 'noon'"),
        ("ml-32m", {"movies.csv": b"id,title\n1,x\n"}, "columns missing: genres, movieId"),
    ],
)
def test_movielens(tmp_path: Path, folder: str, edit: dict[str, bytes | None], message: str) -> None:
    refused(tmp_path, folder, message, format="movielens", edit=edit)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"shop.item": None}, "no file looks like the items"),
        ({"shop.inter": b"user_id\titem_id\nu\ti\n"}, "column 'user_id' has no type"),
        ({"shop.inter": b"user_id:token\tthing:token\nu\ti\n"}, "column 'item_id' .* is missing"),
        ({"shop.inter": b"user_id:token\titem_id:token\n1\t\n\t1\n"}, "1 rows have no user_id: row 2"),
        ({"shop.inter": b"user_id:token\titem_id:token\tt:float\nu\ti\t1\t2\n"}, "line 2 has 4 fields"),
    ],
)
def test_recbole(tmp_path: Path, edit: dict[str, bytes | None], message: str) -> None:
    refused(tmp_path, "recbole", message, format="recbole", edit=edit)


def test_p5_not_utf8(tmp_path: Path) -> None:
    refused(tmp_path, "p5", "not UTF-8 .byte 0xe9.", format="p5", edit={"item_plain_text.txt": b"a caf\xe9\n"})

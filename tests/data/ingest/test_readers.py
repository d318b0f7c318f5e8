"""Each reader on a small file with the quirks of the real layout; expected values are written out by hand."""

from __future__ import annotations

import datetime
import gzip
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from components.data.ingest.ingest import ingest
from components.errors import BadInput
from components.settings.params import Ingest
from components.storage.layout import Layout

FIXTURES = Path(__file__).parent / "fixtures"


def read(folder: Path, to: Path, **settings: Any) -> tuple[dict[str, dict], dict[str, list[str]], dict]:
    """Ingest `folder`; items by id, histories by user, report."""
    layout = Layout(to, "small")
    report = ingest(Ingest(**settings), folder, layout)
    items = {row.pop("item_id"): row for row in pl.read_parquet(layout.items).to_dicts()}
    interactions = pl.read_parquet(layout.interactions)
    histories = dict(interactions.group_by("user_id", maintain_order=True).agg("item_id").iter_rows())
    return items, histories, report


def times(to: Path) -> list[datetime.datetime | None]:
    return pl.read_parquet(Layout(to, "small").interactions)["timestamp"].to_list()


def test_table_maps_columns_and_keeps_ids_as_text(tmp_path: Path) -> None:
    """Prevents: 007 read as 7, nested categories lost, an order that ignores offsets of ISO times."""
    items, histories, report = read(
        FIXTURES / "table",
        tmp_path,
        format="table",
        columns={"user_id": "uid", "timestamp": "ts", "title": "name"},
        list_separator=",",
    )
    assert histories == {"u1": ["007", "12", "99"], "u2": ["007"]}
    assert items["007"] == {
        "title": "Kettle &amp; Co",
        "categories": ["Home", "Kitchen", "Tea"],
        "price": 1299.0,
        "colour": "red",
        "stock": "5",
    }
    assert items["12"]["title"] == "Green tea"  # the row with more text wins
    assert items["99"]["title"] is None
    assert report["items"]["equal_rows_collapsed"] == 1
    assert report["items"]["conflicting_rows_dropped"] == 1
    assert report["items"]["not_in_item_table"] == 1
    assert report["interactions"]["order"] == "timestamp"
    assert times(tmp_path)[1] == datetime.datetime(2024, 3, 1, 10, tzinfo=datetime.UTC)


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_packed_tables_give_the_same_bytes(tmp_path: Path, packing: str) -> None:
    """Prevents: a packed file read differently, or not at all."""
    folder = tmp_path / "packed"
    folder.mkdir()
    for name in ("items.jsonl", "interactions.csv"):
        data = (FIXTURES / "table" / name).read_bytes()
        if packing == "gz":
            (folder / f"{name}.gz").write_bytes(gzip.compress(data))
        else:
            with pa.output_stream(str(folder / f"{name}.zst"), compression="zstd") as stream:
                stream.write(data)
    settings = Ingest(format="table", columns={"user_id": "uid", "timestamp": "ts", "title": "name"})
    ingest(settings, FIXTURES / "table", Layout(tmp_path / "plain", "small"))
    ingest(settings, folder, Layout(tmp_path / "unpacked", "small"))
    for name in ("items", "interactions"):
        plain = getattr(Layout(tmp_path / "plain", "small"), name)
        assert plain.read_bytes() == getattr(Layout(tmp_path / "unpacked", "small"), name).read_bytes()


def test_parquet_and_tsv(tmp_path: Path) -> None:
    """Prevents: typed columns (lists, dates, integers) of Parquet handled worse than text; a quote swallowing rows."""
    folder = tmp_path / "raw"
    folder.mkdir()
    pl.DataFrame(
        {"item_id": [7, 8], "title": ["a", "b"], "categories": [["x", "x", ""], None], "price": [1, 2]}
    ).write_parquet(folder / "items.parquet")
    (folder / "interactions.tsv").write_text('user_id\titem_id\ttimestamp\nu"1\t7\t2024-01-02\nu"1\t8\t2024-01-01\n')
    items, histories, _ = read(folder, tmp_path, format="table")
    assert items == {
        "7": {"title": "a", "categories": ["x"], "price": 1.0},
        "8": {"title": "b", "categories": [], "price": 2.0},
    }
    assert histories == {'u"1': ["8", "7"]}


def test_amazon_2014_metadata_are_python_dicts(tmp_path: Path) -> None:
    """Prevents: `eval` on a data file, escapes read literally, one of two category paths lost."""
    items, histories, report = read(FIXTURES / "amazon-2014", tmp_path, format="amazon")
    assert histories == {"A1YJEY40YUW4SE": ["0007386648", "7806397051"], "A60XNB876KYML": ["7806397051", "B000GONE00"]}
    assert items["7806397051"]["categories"] == ["Beauty", "Makeup", "Face", "Eyes"]
    assert items["7806397051"]["description"].startswith("It's a set")
    assert items["7806397051"]["price"] == 5.09
    assert items["0007386648"]["title"] == 'Men\'s éclat — "night" cream'
    assert items["0007386648"]["brand"] is None
    assert items["B000GONE00"]["title"] is None
    assert report["reader"]["metadata"] == "python"
    assert report["interactions"]["time_unit"] == "s"


@pytest.mark.parametrize("items_first", [False, True])
def test_amazon_ratings_without_a_header(tmp_path: Path, items_first: bool) -> None:
    """Prevents: the first rating read as a header, and users taken for items (2014 and 2018 differ in their order)."""
    folder = Path(shutil.copytree(FIXTURES / "amazon-ratings", tmp_path / "raw"))
    if items_first:
        rows = [line.split(",") for line in (folder / "ratings_Beauty.csv").read_text().splitlines()]
        swapped = "".join(",".join([item, user, *rest]) + "\n" for user, item, *rest in rows)
        (folder / "ratings_Beauty.csv").write_text(swapped)
    items, histories, report = read(folder, tmp_path, format="amazon")
    assert histories == {"A1YJEY40YUW4SE": ["0007386648", "7806397051"], "A60XNB876KYML": ["7806397051", "B000GONE00"]}
    assert report["interactions"]["time_unit"] == "s"
    assert items["7806397051"]["price"] == 5.09


def test_amazon_ratings_that_could_be_either_way(tmp_path: Path) -> None:
    """Prevents: a guess, where users have codes of ten characters too."""
    folder = Path(shutil.copytree(FIXTURES / "amazon-ratings", tmp_path / "raw"))
    (folder / "ratings_Beauty.csv").write_text("A60XNB8763,7806397051,3.0,1397779200\n")
    with pytest.raises(BadInput, match="cannot be told from its users"):
        read(folder, tmp_path, format="amazon")


def test_amazon_2014_metadata_are_never_executed(tmp_path: Path) -> None:
    """Prevents: code in a metadata file that runs. The line must be refused by its number instead."""
    folder = tmp_path / "raw"
    shutil.copytree(FIXTURES / "amazon-2014", folder)
    marker = tmp_path / "ran"
    with (folder / "meta_Beauty.json").open("a") as stream:
        stream.write(f"{{'asin': open({str(marker)!r}, 'w').write('x')}}\n")
    with pytest.raises(BadInput, match="line 4 is neither a Python dict nor a JSON object"):
        ingest(Ingest(format="amazon"), folder, Layout(tmp_path, "small"))
    assert not marker.exists()


def test_amazon_2018_page_source_is_not_text(tmp_path: Path) -> None:
    """Prevents: JavaScript as a title, CSS as a price, feature bullets as categories, a brand called "by"."""
    items, histories, report = read(FIXTURES / "amazon-2018", tmp_path, format="amazon")
    assert histories == {"A3CIUOJXQ5VDQ2": ["B00006L9LC", "B0000530HU"], "A3H7T87S984REU": ["B0000530HU"]}
    good, bad = items["B0000530HU"], items["B00006L9LC"]
    assert good["brand"] == "Aqua Velva"
    assert good["price"] == 1007.58
    assert good["description"] == "Shave gel. Ice cold."
    assert good["attributes"] == ["Provides a cool feel", "7 oz"]
    assert good["image_url"] == "https://images-na.ssl-images-amazon.com/images/I/41.jpg"
    assert bad["title"] is None
    assert bad["price"] is None
    assert bad["categories"] == ["Beauty", "Hair Care"]
    assert report["items"]["equal_rows_collapsed"] == 1


def test_amazon_2023_uses_parent_asin_and_milliseconds(tmp_path: Path) -> None:
    """Prevents: variants as items (no metadata under their asin), wrong years, review titles as item titles."""
    items, histories, report = read(FIXTURES / "amazon-2023", tmp_path, format="amazon")
    assert histories == {
        "AE74DYR3QUGVPZJ3P7RFWBGIX7XQ": ["B081TJ8YS3"],
        "AGKHLEW2SOWHNMFQIJGBECAF7INQ": ["B081TJ8YS3", "B00YQ6X8EO"],
    }
    assert report["interactions"]["time_unit"] == "ms"
    assert times(tmp_path)[2] == datetime.datetime(2020, 5, 5, 14, 8, 48, 923000, tzinfo=datetime.UTC)
    assert items["B081TJ8YS3"]["price"] == 14.99
    assert items["B081TJ8YS3"]["brand"] == "Yes To"
    assert items["B081TJ8YS3"]["description"] == "A cleanser. For the face."
    assert items["B00YQ6X8EO"]["image_url"] == "https://m.media-amazon.com/images/I/l.jpg"
    assert set(items) == {"B081TJ8YS3", "B00YQ6X8EO"}


def test_movielens_100k_is_latin_1(tmp_path: Path) -> None:
    """Prevents: a crash on é, genre flags off by one, an item without a date shifting its fields."""
    items, histories, _ = read(FIXTURES / "ml-100k", tmp_path, format="movielens")
    assert items == {
        "242": {"title": "Kolya (1996)", "categories": ["Comedy"]},
        "267": {"title": "unknown", "categories": []},
        "302": {"title": "Misérables, Les (1995)", "categories": ["Drama", "Musical"]},
    }
    assert histories == {"186": ["302"], "196": ["302", "242"]}


def test_movielens_1m_double_colons(tmp_path: Path) -> None:
    """Prevents: `::` read as two separators with an empty column between."""
    items, histories, _ = read(FIXTURES / "ml-1m", tmp_path, format="movielens")
    assert items["661"] == {"title": "Amélie et Cie (1996)", "categories": ["Animation", "Children's", "Musical"]}
    assert histories == {"1": ["1193", "661"], "2": ["661"]}


def test_movielens_32m_csv(tmp_path: Path) -> None:
    """Prevents: a comma or a quote within a title splitting the row; "(no genres listed)" taken for a genre."""
    items, histories, report = read(FIXTURES / "ml-32m", tmp_path, format="movielens", min_rating=1.0)
    assert items["25"] == {"title": 'American "Quoted" President, The (1995)', "categories": []}
    assert items["17"]["categories"] == ["Drama", "Romance"]
    assert histories == {"1": ["17", "25"]}
    assert report["interactions"]["below_min_rating"] == 1


def test_recbole_typed_header(tmp_path: Path) -> None:
    """Prevents: ids of type token made numbers, a quote in a token swallowing lines, float seconds cut to zero."""
    items, histories, _ = read(FIXTURES / "recbole", tmp_path, format="recbole")
    assert items["0012"]["title"] == 'The "Big" Café'
    assert items["0012"]["categories"] == ["Drama", "Comedy"]
    assert items["0012"]["price"] == 4.5
    assert items["13"]["price"] is None
    assert items["13"]["release_year"] == "1995"
    assert histories == {"007": ["13", "0012"], 'x"y': ["13"]}
    assert times(tmp_path)[2] == datetime.datetime(2016, 6, 7, 0, 0, 1, 500000, tzinfo=datetime.UTC)


def test_p5_fields_of_a_text(tmp_path: Path) -> None:
    """Prevents: a semicolon within a title cutting it, "na" as a brand, a text without labels lost."""
    items, histories, report = read(FIXTURES / "p5", tmp_path, format="p5")
    assert items["B004756YJA"]["title"] == "urban decay eyeshadow; primer potion"
    assert items["B004756YJA"]["brand"] is None
    assert items["B004756YJA"]["categories"] == ["beauty", "makeup", "eyes"]
    assert items["B004756YJA"]["description"] == "keeps it: all day"
    assert items["B004756YJA"]["price"] == 19.0
    assert items["B0020YLEYK"]["title"] == "black soap from ghana 5 oz"
    assert histories["A1YJEY40YUW4SE"] == ["B004756YJA", "7806397051", "B0020YLEYK"]
    assert report["interactions"]["order"] == "position"
    assert report["interactions"]["rows_without_time"] == 7

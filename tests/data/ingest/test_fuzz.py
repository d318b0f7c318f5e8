"""Random damage to raw files of every format: a refusal that says where, or all rows that the damage does not explain.

What is prevented is silence: a traceback, an interaction that vanishes although its line is whole, one that no line
holds, a cut file that is read as if it were all. A damage is a splice: some bytes of a file are replaced by others. The
lines that it touches may be lost or changed, those it does not touch must be read as they stand.
"""

from __future__ import annotations

import gzip
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.data.ingest.ingest import ingest
from components.data.ingest.sniff import suggest
from components.errors import StageError
from components.settings.file import from_dict
from components.settings.params import Ingest
from components.storage.layout import Layout

pytestmark = pytest.mark.slow

USERS, ITEMS, EACH = 12, 10, 6
EXAMPLES = int(os.environ.get("IDIOM_FUZZ_EXAMPLES", "30"))
"""Of each test; more of them by hand, such as 5000 after a change of a reader."""

Row = tuple[str, str, int | None]


def rows() -> list[Row]:
    """Interactions of all users, a different time for each, so that every line is one of its kind."""
    found = [
        (f"u{user:02}", f"p{(user * 3 + step * 7) % ITEMS:02}", 1_600_000_000 + 4_000 * step + 97 * user)
        for step in range(EACH)
        for user in range(USERS)
    ]
    assert len(set(found)) == USERS * EACH
    return found


def titles() -> list[tuple[str, str]]:
    words = ("kettle", "mug, large", "teapot", '27" screen', "cup & saucer", "pan; red", "lid", "jug", "tin", "rack")
    return [(f"p{number:02}", f"Alder {word}") for number, word in enumerate(words)]


@dataclass(frozen=True)
class Shop:
    """Raw files of one format: name -> lines (the header among them), and how they are read."""

    interactions: str
    files: dict[str, list[str]]
    ingest: Ingest
    header: int = 1
    """Lines of the interactions that are no record."""
    end: str = "\n"
    timed: bool = True

    def content(self, name: str) -> bytes:
        return "".join(line + self.end for line in self.files[name]).encode()


def csv_of(table: list[tuple], head: str) -> list[str]:
    def field(value: object) -> str:
        text = str(value)
        return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n') else text

    return [head, *(",".join(map(field, row)) for row in table)]


def json_of(table: list[tuple], *names: str) -> list[str]:
    import json

    return [json.dumps(dict(zip(names, row, strict=True))) for row in table]


NOTED = [(*row, "ok" if number % 3 else "a, b") for number, row in enumerate(rows())]
SHOPS: dict[str, Shop] = {
    "csv": Shop(
        "events.csv",
        {
            "events.csv": csv_of(NOTED, "user_id,item_id,timestamp,note"),
            "items.csv": csv_of(titles(), "item_id,title"),
        },
        Ingest(format="table", items="items.csv", interactions="events.csv"),
    ),
    "csv, Windows": Shop(
        "events.csv",
        {
            "events.csv": csv_of(rows(), "user_id,item_id,timestamp"),
            "items.csv": csv_of(titles(), "item_id,title"),
        },
        Ingest(format="table", items="items.csv", interactions="events.csv"),
        end="\r\n",
    ),
    "tsv": Shop(
        "events.tsv",
        {
            "events.tsv": ["user_id\titem_id\ttimestamp", *("\t".join(map(str, row)) for row in rows())],
            "items.tsv": ["item_id\ttitle", *("\t".join(row) for row in titles())],
        },
        Ingest(format="table", items="items.tsv", interactions="events.tsv"),
    ),
    "json": Shop(
        "events.jsonl",
        {
            "events.jsonl": json_of(rows(), "user_id", "item_id", "timestamp"),
            "items.jsonl": json_of(titles(), "item_id", "title"),
        },
        Ingest(format="table", items="items.jsonl", interactions="events.jsonl"),
        header=0,
    ),
    "amazon": Shop(
        "reviews_Tools_5.json",
        {
            "reviews_Tools_5.json": json_of(rows(), "reviewerID", "asin", "unixReviewTime"),
            "meta_Tools.json": [repr({"asin": code, "title": title}) for code, title in titles()],
        },
        Ingest(format="amazon"),
        header=0,
    ),
    "movielens 1m": Shop(
        "ratings.dat",
        {
            "ratings.dat": [f"{user}::{item}::5::{moment}" for user, item, moment in rows()],
            "movies.dat": [f"{code}::{title}::Drama" for code, title in titles()],
        },
        Ingest(format="movielens"),
        header=0,
    ),
    "movielens 100k": Shop(
        "u.data",
        {
            "u.data": [f"{user}\t{item}\t5\t{moment}" for user, item, moment in rows()],
            "u.item": [f"{code}|{title}|01-Jan-1995||http://x|{'|'.join('0' * 19)}" for code, title in titles()],
        },
        Ingest(format="movielens"),
        header=0,
    ),
    "recbole": Shop(
        "shop.inter",
        {
            "shop.inter": [
                "user_id:token\titem_id:token\ttimestamp:float",
                *("\t".join(map(str, row)) for row in rows()),
            ],
            "shop.item": ["item_id:token\ttitle:token_seq", *("\t".join(row) for row in titles())],
        },
        Ingest(format="recbole"),
    ),
}
NASTY = [
    '"',
    '""',
    '\\"',
    "\\",
    ",",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "::",
    "|",
    "'",
    "{",
    "}",
    "[",
    "]",
    "\0",
    " ",
    "e+12",
    "0",
]
PIECES = st.one_of(
    st.sampled_from([piece.encode() for piece in NASTY] + [b"\xff", b"\xef\xbb\xbf", "é".encode(), b"\xff\xfe"]),
    st.binary(max_size=6),
    st.text("u0p12,\"\n\\'", max_size=12).map(str.encode),
)
SPLICE = st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 30), PIECES)


def damaged(content: bytes, splices: list[tuple[float, int, bytes]]) -> tuple[bytes, set[int], int]:
    """The content after some splices; numbers of the lines they touched, and how many lines they may have made."""
    touched: set[int] = set()
    made = 0
    spots = sorted({int(place * len(content)): (size, piece) for place, size, piece in splices}.items(), reverse=True)
    whole, behind = content, len(content)
    for place, (size, piece) in spots:
        end = min(place + size, behind)
        first, last = whole.count(b"\n", 0, place), whole.count(b"\n", 0, end)
        if whole[place:end] != piece:
            touched |= set(range(first, last + 1))
            made += piece.count(b"\n") + piece.count(b"\r") + 1
        content, behind = content[:place] + piece + content[end:], place
    return content, touched, made


def outcome(folder: Path, params: Ingest) -> tuple[list[Row], list[str]] | None:
    """Rows that were read, and what was said on the terminal; None for a refusal."""
    with TemporaryDirectory() as out:
        layout = Layout(Path(out), "shop")
        try:
            report = ingest(params, folder, layout)
        except StageError as error:
            assert error.exit_code in (2, 3) and error.what and error.where and error.mend
            return None
        table = pl.read_parquet(layout.interactions)
        account = report["conservation"]["interactions"]
        assert account["records"] == account["kept"] + sum(account["set_aside"].values())
        assert account["kept"] == table.height
        found = table.select("user_id", "item_id", pl.col("timestamp").dt.epoch("s"))
        return [(user, item, moment) for user, item, moment in found.iter_rows()], report["in_words"]


def read_as(folder: Path, params: Ingest, by: str) -> tuple[list[Row], list[str]] | None:
    """By the parameters of the sound files, as every night; or by those that `idiom init` finds for the damaged."""
    if by == "params":
        return outcome(folder, params)
    try:
        found = from_dict(suggest(folder)["params"]).ingest
    except StageError as error:
        assert error.exit_code in (2, 3) and error.what and error.mend
        return None
    return outcome(folder, found)


def tried(shop: Shop, name: str, content: bytes, by: str) -> tuple[list[Row], list[str]] | None:
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "raw"
        folder.mkdir()
        for each in shop.files:
            (folder / each).write_bytes(content if each == name else shop.content(each))
        return read_as(folder, shop.ingest, by)


def fuzz(function: Callable) -> Callable:
    """Real files and no clock: the examples are the same in every run."""
    health = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    return settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=health)(function)


@pytest.mark.parametrize("name", SHOPS)
def test_sound_files_are_read_whole(name: str) -> None:
    """Prevents: the tests below passing because everything is refused."""
    shop = SHOPS[name]
    for by in ("params", "init"):
        found = tried(shop, "", b"", by)
        assert found is not None and Counter(found[0]) == Counter(rows()) and not found[1]


@pytest.mark.parametrize("name", SHOPS)
@fuzz
@given(splices=st.lists(SPLICE, min_size=1, max_size=3), by=st.sampled_from(["params", "init"]))
def test_damaged_interactions(name: str, splices: list[tuple[float, int, bytes]], by: str) -> None:
    shop = SHOPS[name]
    content, touched, made = damaged(shop.content(shop.interactions), splices)
    found = tried(shop, shop.interactions, content, by)
    if found is None:
        return
    read, original = Counter(found[0]), rows()
    untouched = Counter(row for number, row in enumerate(original, start=shop.header) if number not in touched)
    assert not untouched - read, "rows of lines that are whole are not there"
    assert sum((read - Counter(original)).values()) <= len(touched) + made, "more rows than the damage explains"
    assert sum(read.values()) <= len(original) + made


@pytest.mark.parametrize("name", SHOPS)
@fuzz
@given(splices=st.lists(SPLICE, min_size=1, max_size=3), by=st.sampled_from(["params", "init"]))
def test_damaged_items(name: str, splices: list[tuple[float, int, bytes]], by: str) -> None:
    """An item table harms no interaction, whatever happens to it."""
    shop = SHOPS[name]
    other = next(each for each in shop.files if each != shop.interactions)
    content, _, _ = damaged(shop.content(other), splices)
    found = tried(shop, other, content, by)
    assert found is None or Counter(found[0]) == Counter(rows())


@pytest.mark.parametrize("name", SHOPS)
@fuzz
@given(share=st.floats(0.01, 0.999), by=st.sampled_from(["params", "init"]))
def test_cut_files_are_named(name: str, share: float, by: str) -> None:
    """A file that ends within a line is refused, or its last line is said to be doubtful."""
    shop = SHOPS[name]
    whole = shop.content(shop.interactions)
    cut = whole[: int(share * len(whole))]
    found = tried(shop, shop.interactions, cut, by)
    if found is None:
        return
    lines = cut.count(b"\n") - shop.header
    assert lines <= len(found[0]) <= lines + 1
    if not cut.endswith(b"\n"):
        assert any("ends without a line end" in line for line in found[1])


@pytest.mark.parametrize("by", ["params", "init"])
@fuzz
@given(data=st.data())
def test_damaged_archives_are_refused(by: str, data: st.DataObject) -> None:
    """A gzip without its end, or with a bit turned, is never read in part; nor is one that is named .json."""
    shop = SHOPS["json"]
    packed = bytearray(gzip.compress(shop.content(shop.interactions), mtime=0))
    if data.draw(st.booleans(), label="cut"):
        packed = packed[: data.draw(st.integers(1, len(packed) - 1), label="bytes left")]
    else:
        place = data.draw(st.integers(10, len(packed) - 1), label="byte")
        packed[place] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    found = tried(shop, shop.interactions, bytes(packed), by)
    assert found is None


@fuzz
@given(data=st.data())
def test_damaged_parquet(data: st.DataObject) -> None:
    """Its checksums are not written by everybody: a value may change, but no row may go or come."""
    shop = SHOPS["json"]
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "raw"
        folder.mkdir()
        names = ["user_id", "item_id", "timestamp"]
        pl.DataFrame(rows(), schema=names, orient="row").write_parquet(folder / "events.parquet")
        (folder / "items.jsonl").write_bytes(shop.content("items.jsonl"))
        content = bytearray((folder / "events.parquet").read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        if data.draw(st.booleans()):
            content = content[: data.draw(st.integers(1, len(content)))]
        (folder / "events.parquet").write_bytes(bytes(content))
        found = outcome(folder, Ingest(format="table", items="items.jsonl", interactions="events.parquet"))
    assert found is None or len(found[0]) == len(rows())

"""Relations and media: what `ingest` reads, sets aside and names, and what `idiom init` and `validate` say of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from components.data.canonical.views import is_behaviour
from components.data.ingest.ingest import ingest
from components.data.ingest.sniff import suggest
from components.data.validate.checks import VIEW_CHECKS
from components.data.validate.validate import validate
from components.errors import BadInput, GateRefused
from components.settings.params import Ingest, Validate
from components.settings.views import Media
from components.storage.artifacts import read_json
from components.storage.layout import Layout
from tests.data.ingest.raw_shop import ITEMS, table, write
from tests.media.test_media import bomb, png

TRIPLES = [
    *[(item, "maker", f"m{number % 3}") for number, (item, _) in enumerate(ITEMS)],
    ("p00", "also_bought", "p01"),
    ("p01", "boughtTogether", "p02"),
    ("m1", "country", "Norway"),
    ("p00", "maker", "m0"),
]
KG = table("head,relation,tail", TRIPLES)


def taken(folder: Path, **settings: Any) -> tuple[dict[str, Any], Layout]:
    layout = Layout(folder / "out", "shop")
    found = Ingest(format="table", items="items.csv", interactions="events.csv", **settings)
    return ingest(found, folder, layout), layout


def test_relations_are_accounted_for_and_what_others_did_is_set_aside(tmp_path: Path) -> None:
    report, layout = taken(write(tmp_path, kg__csv=KG), relations="kg.csv")
    kept = pl.read_parquet(layout.relations)
    assert kept.height == 10 and kept["relation"].unique().to_list() == ["maker"]
    account = report["conservation"]["relations"]
    assert account["set_aside"] == {"behaviour_of_others": 2, "head_is_no_item": 1, "equal": 1}
    assert account["records"] == len(TRIPLES) == account["kept"] + sum(account["set_aside"].values())
    assert any("what others did" in line for line in report["in_words"])


@pytest.mark.parametrize(
    ("name", "told"),
    [
        *[(name, True) for name in ("also_bought", "alsoViewed", "bought_together", "buyAfterViewing", "co-viewed")],
        *[(name, True) for name in ("frequently bought with", "also_listened", "users_who_liked")],
        *[(name, True) for name in ("customersWhoBought", "also_played", "people_also_search_for", "co-occurrence")],
        *[(name, True) for name in ("also_read", "same_basket", "customers_who_also_viewed", "same_cart")],
        *[
            (name, False)
            for name in (
                "brand",
                "film.film.rating",
                "director",
                "viewpoint",
                "genre",
                "together",
                "album",
                "played_by",
                "read_by",
                "author",
            )
        ],
    ],
)
def test_behaviour_is_told_by_the_name_of_a_relation(name: str, told: bool) -> None:
    assert is_behaviour(name) is told


def test_behaviour_that_was_asked_for_is_kept_and_stops_the_graph_until_one_says_that_one_knows(tmp_path: Path) -> None:
    """Prevents: a test set that the model was given in a table of relations, without anybody's word."""
    folder = write(tmp_path, kg__csv=KG)
    _, layout = taken(folder, relations="kg.csv", relation_types=["maker", "also_bought"])
    assert set(pl.read_parquet(layout.relations)["relation"]) == {"maker", "also_bought"}
    easy = {"max_cold_target_share": 1.0, "max_tie_share": 1.0}
    with pytest.raises(GateRefused, match="relations_say_nothing_of_others"):
        validate(Validate(**easy), layout)
    verdict = validate(Validate(severities={"relations_say_nothing_of_others": "warning"}, **easy), layout)
    assert "relations_say_nothing_of_others" in verdict["warnings"]


@pytest.mark.parametrize(
    ("content", "settings", "said"),
    [
        (table("a,b", [(1, 2)]), {}, "no table of relations"),
        (KG, {"relation_types": ["maler"]}, "'maler', which no row has"),
        (table("head,relation,tail", [("P00", "maker", "x")] * 3), {}, "differ between interactions and item table by"),
        (
            table("head,relation,tail", [("", "maker", "x"), ("p00", "maker", "x")]),
            {},
            "have no head, relation or tail",
        ),
    ],
)
def test_relations_that_cannot_be_read_are_refused(
    tmp_path: Path, content: str, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInput) as caught:
        taken(write(tmp_path, kg__csv=content), relations="kg.csv", **settings)
    assert said in str(caught.value)


def test_init_recognises_a_table_of_relations(tmp_path: Path) -> None:
    found = suggest(write(tmp_path / "shop", kg__csv=KG))
    assert found["params"]["ingest"]["relations"] == "kg.csv"
    assert any("maker 11" in line for line in found["lines"])
    assert any("set aside: also_bought, boughtTogether" in line for line in found["lines"])


def test_init_recognises_files_that_are_named_as_items(tmp_path: Path) -> None:
    folder = media(tmp_path / "shop")
    (folder / "banners").mkdir()
    (folder / "banners" / "summer.png").write_bytes(png())
    found = suggest(folder)
    assert found["params"]["ingest"]["media"] == {"pictures": {"files": "pictures"}}
    said = [line for line in found["lines"] if "pictures" in line or "banners" in line]
    assert said[0].startswith("Not read: banners; 1 pictures, 0 of them named as items")
    assert said[1].startswith("Media: pictures; 11 pictures, of 9 of 10 items") and len(said) == 2


def test_without_views_the_tables_are_empty_and_nothing_else_says_a_word(tmp_path: Path) -> None:
    """Prevents: a shop without pictures whose reports and verdict change."""
    report, layout = taken(write(tmp_path))
    assert pl.read_parquet(layout.relations).is_empty() and pl.read_parquet(layout.media).is_empty()
    assert not {"relations", "media"} & set(report) and set(report["conservation"]) & {"relations", "media"} == set()
    verdict = validate(Validate(max_cold_target_share=1.0), layout)
    assert not {check["name"] for check in verdict["checks"]} & set(VIEW_CHECKS)


def media(folder: Path) -> Path:
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    for number in range(7):
        (pictures / f"p{number:02}.png").write_bytes(png((number * 30, 9, 9)))
    (pictures / "p00.png").write_bytes(png((60, 9, 9)))  # the same as that of p02
    (pictures / "p07.png").write_bytes(b"nothing")
    (pictures / "p08.png").write_bytes(bomb(9000, 9000))
    (pictures / "p01.jpg").write_bytes(png(kind="JPEG"))
    (pictures / "x99.png").write_bytes(png())
    return write(folder)


def test_every_file_is_used_or_named_with_its_reason(tmp_path: Path) -> None:
    report, layout = taken(media(tmp_path), media={"shot": Media(files="pictures")})
    about = report["media"]["shot"]
    assert about["items"] == 7 and about["refused"] == {"no picture": 1, "too many pixels": 1}
    assert about["set_aside"] == {"of_no_item": 1, "second_of_its_item": 1} and about["found"] == 11
    assert any("p07.png (no picture" in line for line in report["in_words"])
    rows = pl.read_parquet(layout.media)
    assert rows.filter(pl.col("problem").is_null())["digest"].null_count() == 0
    verdict = validate(Validate(max_cold_target_share=1.0, max_missing_view_share=0.2), layout)
    checks = {check["name"]: check for check in verdict["checks"]}
    assert {"media_readable", "media_of_most_items"} <= set(verdict["warnings"])
    assert {row["file"] for row in checks["media_readable"]["rows"]} == {"p07.png", "p08.png"}
    assert checks["media_differ"]["count"] == 1


def test_what_is_no_picture_and_what_cannot_be_named_is_counted(tmp_path: Path) -> None:
    """Prevents: pictures in a format that nobody reads, gone without a word, and a crash by a name of other bytes."""
    folder = media(tmp_path / "shop")
    (folder / "pictures" / "p09.tif").write_bytes(png())
    (folder / "pictures" / ".DS_Store").write_bytes(b"hidden")
    old = folder / "pictures" / os.fsdecode(b"caf\xe9")
    old.mkdir()
    (old / "p09.png").write_bytes(png())
    report, _ = taken(folder, media={"shot": Media(files="pictures")})
    aside = {"name_no_text": 1, "of_no_item": 1, "other_ending": 1, "second_of_its_item": 1}
    assert report["media"]["shot"]["set_aside"] == aside and report["media"]["shot"]["found"] == 13
    assert any(
        "shot: 4 of 13 are set aside: " in line and "another ending than .jpg" in line for line in report["in_words"]
    )


def test_files_of_views_are_among_those_that_were_read(tmp_path: Path) -> None:
    """Prevents: "Files that are not read: kg.csv, pictures/", which were."""
    folder = media(tmp_path / "shop")
    (folder / "kg.csv").write_text(KG)
    (folder / "kg").write_text("another")
    report, _ = taken(folder, relations="kg.csv", media={"shot": Media(files="pictures")})
    assert report["files"] == {"read": ["events.csv", "items.csv", "kg.csv", "pictures"], "not_read": ["kg"]}


def test_vectors_are_counted_whatever_is_wrong_with_them(tmp_path: Path) -> None:
    """Prevents: an item lost by the mark at the beginning of a file of ids, rows without a vector that nobody counts,
    and a traceback for an archive of arrays."""
    folder = write(tmp_path / "shop")
    np.save(folder / "v.npy", np.ones((10, 3)))
    (folder / "v.txt").write_text("\ufeff" + "".join(f"{item}\n" for item, _ in ITEMS), encoding="utf-8")
    lists = [[1.0, 2.0], None, [1.0, None]]
    pl.DataFrame({"item_id": ["p00", "p01", "p02"], "v": lists}).write_parquet(folder / "w.parquet")
    report, _ = taken(folder, media={"v": Media(vectors="v.npy", ids="v.txt"), "w": Media(vectors="w.parquet")})
    assert report["media"]["v"]["items"] == 10
    assert report["media"]["w"]["set_aside"] == {"no_vector": 1, "not_finite": 1} and report["media"]["w"]["found"] == 3
    with (folder / "v.npy").open("wb") as stream:
        np.savez(stream, np.ones((10, 3)))
    with pytest.raises(BadInput, match="archive of several arrays"):
        taken(folder, media={"v": Media(vectors="v.npy", ids="v.txt")})


def test_numbers_labels_and_vectors_are_read(tmp_path: Path) -> None:
    rows = [
        {"item_id": item, "title": title, "sound": {"tempo": n, "loud": -n}, "image_labels": ["Tin", "Red"][: n % 3]}
        for n, (item, title) in enumerate(ITEMS)
    ]
    rows[3]["sound"] = {"tempo": 1.0}
    folder = write(tmp_path, items="".join(json.dumps(row) + "\n" for row in rows))
    (folder / "items.csv").rename(folder / "items.jsonl")
    np.save(folder / "v.npy", np.arange(30, dtype=np.float32).reshape(10, 3))
    (folder / "v.txt").write_text("".join(f"{item}\n" for item, _ in ITEMS))
    pl.DataFrame({"item_id": [ITEMS[0][0]], "vector": [[1.0, 2.0]]}).write_parquet(folder / "v.parquet")
    named = {
        "audio": Media(numbers=["sound"]),
        "tags": Media(labels="image_labels"),
        "shape": Media(vectors="v.npy", ids="v.txt"),
        "other": Media(vectors="v.parquet"),
    }
    layout = Layout(folder / "out", "shop")
    report = ingest(Ingest(format="table", items="items.jsonl", interactions="events.csv", media=named), folder, layout)
    found = {name: about["items"] for name, about in report["media"].items()}
    assert found == {"audio": 9, "tags": 6, "shape": 10, "other": 1}
    assert report["media"]["audio"]["set_aside"] == {"incomplete": 1}
    media_rows = pl.read_parquet(layout.media)
    assert media_rows.filter(view="audio", item_id="p04")["numbers"][0].to_list() == [4.0, -4.0]
    assert read_json(layout.ingest_report)["media"]["tags"]["kind"] == "labels"


@pytest.mark.parametrize("settings", [{}, {"files": "a", "labels": "b"}, {"vectors": "v.npy"}, {"files": "../away"}])
def test_a_medium_that_means_nothing_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Media(**settings)


def test_the_page_names_every_check_of_views(repository: Path) -> None:
    """Prevents: a check that people cannot look up."""
    lines = (repository / "docs/views.md").read_text(encoding="utf-8").splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| `")]
    assert [(row[0].strip("| `"), row[1]) for row in rows] == [
        (name, each.severity) for name, each in VIEW_CHECKS.items()
    ]

"""`idiom init`: what is suggested for a folder must be right, and must be what `ingest` accepts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from components.data.ingest.ingest import ingest
from components.data.ingest.sniff import dataset_name, suggest
from components.errors import BadInput
from components.settings.file import from_dict
from components.storage.layout import Layout
from tests.benchmarks.test_ties import raw_set

FIXTURES = Path(__file__).parent / "fixtures"


def accepted(folder: Path, to: Path) -> dict[str, Any]:
    """Suggest, check the suggestion as params.yaml, ingest with it; return it."""
    found = suggest(folder)
    params = from_dict(found["params"])
    ingest(params.ingest, folder, Layout(to, params.dataset))
    assert all(isinstance(line, str) for line in found["lines"])
    return found["params"]


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("amazon-2014", "amazon"),
        ("amazon-2018", "amazon"),
        ("amazon-2023", "amazon"),
        ("amazon-ratings", "amazon"),
        ("ml-100k", "movielens"),
        ("ml-1m", "movielens"),
        ("ml-32m", "movielens"),
        ("recbole", "recbole"),
        ("p5", "p5"),
        ("table", "table"),
    ],
)
def test_every_format_is_recognised_and_ingests(folder: str, expected: str, tmp_path: Path) -> None:
    """Prevents: a suggestion that the very next command refuses."""
    params = accepted(FIXTURES / folder, tmp_path)
    assert params["ingest"]["format"] == expected
    assert params["ingest"]["path"] == f"data/raw/{folder}"
    assert "title" in params["clean"]["text_fields"]
    # A handful of rows has no 5-core: everything would be thrown away.
    assert params["clean"]["min_item_interactions"] == 1


def test_demo_shop_is_recognised(repository: Path, tmp_path: Path) -> None:
    params = accepted(repository / "data" / "demo", tmp_path)
    assert params["ingest"]["format"] == "demo"
    assert params["clean"] == {
        "text_fields": ["title", "brand", "categories", "description"],
        "min_user_interactions": 5,
        "min_item_interactions": 5,
    }


def test_columns_are_mapped_by_their_common_names(tmp_path: Path) -> None:
    """Prevents: the item's `id` taken for the interaction's, one mapping forced on both tables."""
    folder = tmp_path / "My Shop (2024)"
    folder.mkdir()
    (folder / "goods.csv").write_text("id,Product Name,genre,position\n7,Tea,A > B,shelf 3\n8,Cup,C > D,shelf 4\n")
    (folder / "log.csv").write_text("id,customer_id,sku,created_at\n1,c,7,1700000000\n2,c,8,1700000100\n")
    found = suggest(folder)
    assert found["params"]["dataset"] == "my-shop-2024"
    section = found["params"]["ingest"]
    assert (section["items"], section["interactions"]) == ("goods.csv", "log.csv")
    assert section["list_separator"] == " > "
    assert section["columns"]["user_id"] == "customer_id"
    assert section["columns"]["items.item_id"] == "id"
    assert section["columns"]["interactions.item_id"] == "sku"
    report = ingest(from_dict(found["params"]).ingest, folder, Layout(tmp_path, "shop"))
    assert report["items"]["not_in_item_table"] == 0
    assert report["items"]["without_title"] == 0
    assert report["interactions"]["order"] == "timestamp"
    assert any("epoch seconds" in line for line in found["lines"])


def test_a_column_called_time_that_holds_none_is_not_used(tmp_path: Path) -> None:
    """Prevents: a params.yaml that `ingest` refuses because of a column nobody needs."""
    (tmp_path / "items.csv").write_text("item_id,title\na,x\nb,y\n")
    (tmp_path / "events.csv").write_text("user_id,item_id,time\nu,a,noon\nu,b,noon\n")
    found = suggest(tmp_path)
    assert "timestamp" not in found["params"]["ingest"].get("columns", {})
    assert any("not used as time" in line for line in found["lines"])


@pytest.mark.parametrize(
    ("values", "separator"),
    [
        (["A|B", "C|D, E"], "|"),
        (["A,B", "C,D, E"], ","),
        (["A, B", "C, D"], ", "),
        (["A", "B"], None),
        (['["A", "B"]', '["C"]'], None),
    ],
)
def test_list_separator(tmp_path: Path, values: list[str], separator: str | None) -> None:
    """Prevents: "Creams, Gels & Lotions" torn apart, or "A,B,C" left as one category."""
    quoted = ['"' + value.replace('"', '""') + '"' for value in values]
    rows = "".join(f"{n},x,{value}\n" for n, value in enumerate(quoted))
    (tmp_path / "items.csv").write_text(f"item_id,title,categories\n{rows}")
    (tmp_path / "events.csv").write_text("user_id,item_id\nu,0\nu,1\n")
    assert suggest(tmp_path)["params"]["ingest"].get("list_separator") == separator


def test_nothing_fits_says_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "weather.csv").write_text("day,degrees\n1,2\n")
    (tmp_path / "readme.md").write_text("hello")
    with pytest.raises(BadInput, match=r"weather\.csv: day, degrees.*readme\.md"):
        suggest(tmp_path)


def test_unreadable_file_says_why(tmp_path: Path) -> None:
    """Prevents: "nothing found" where the truth is a cut-off archive."""
    (tmp_path / "items.csv").write_text("item_id,title\na,x\n")
    (tmp_path / "events.csv.gz").write_bytes(b"\x1f\x8b\x08\x00")
    with pytest.raises(BadInput, match=r"events\.csv\.gz: gzip archive ends in the middle"):
        suggest(tmp_path)


def test_folder_of_folders_points_inside(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "ml-1m", tmp_path / "ml-1m")
    with pytest.raises(BadInput, match="holds only folders: ml-1m") as caught:
        suggest(tmp_path)
    assert str(tmp_path / "ml-1m") in caught.value.mend


def test_file_instead_of_folder_and_nothing_at_all(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    with pytest.raises(BadInput, match="is a file, not a folder"):
        suggest(tmp_path / "x.csv")
    with pytest.raises(BadInput, match="does not exist"):
        suggest(tmp_path / "nowhere")


@pytest.mark.parametrize(("folder", "name"), [("My Shop!", "my-shop"), ("..hidden", "hidden"), ("日本", "data")])
def test_dataset_name_is_one_that_params_accept(tmp_path: Path, folder: str, name: str) -> None:
    assert dataset_name(tmp_path / folder) == name
    from_dict({"dataset": name})


def test_ties_that_the_file_sorts_by_id_are_drawn(tmp_path: Path) -> None:
    """Prevents: a newcomer's first model that is paid for reading product codes, and a choice without its reason."""
    raw_set(tmp_path / "shop")
    found = suggest(tmp_path / "shop")
    assert found["params"]["clean"]["ties"] == "shuffle"
    (line,) = [line for line in found["lines"] if line.startswith("clean.ties: shuffle")]
    assert "330 of 330 neighbours at the same time ascend by item id" in line and "docs/ties.md" in line
    assert from_dict(found["params"]).clean.ties == "shuffle"


@pytest.mark.real
def test_real_folders(shared_data: Path) -> None:
    """Prevents: the project's own real data needing a hand-written params.yaml."""
    scientific = suggest(shared_data / "amazon-scientific")["params"]
    assert scientific["ingest"]["list_separator"] == ","
    assert scientific["ingest"]["columns"] == {"position": "pos"}
    beauty = suggest(shared_data / "amazon-beauty")["params"]
    assert beauty["ingest"]["items"] == "items.jsonl.gz"
    assert beauty["ingest"]["interactions"] == "interactions.tsv.gz"
    assert "list_separator" not in beauty["ingest"]
    assert beauty["clean"]["text_fields"] == ["title", "brand", "categories"]
    assert beauty["clean"]["min_item_interactions"] == 5

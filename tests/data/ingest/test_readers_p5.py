"""The ordering defect of the released P5 files: found where it is, not found where it is not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from components.data.ingest.ingest import ingest
from components.data.ingest.ordering import sortedness
from components.errors import BadInput, GateRefused
from components.settings.params import Ingest
from components.storage.layout import Layout


def shopping(users: int, *, seed: int = 0) -> list[tuple[str, list[str]]]:
    """Histories of 5 to 9 of 200 codes, in an order that has nothing to do with the code."""
    rng = random.Random(seed)
    codes = [f"B{number:05}" for number in range(200)]
    return [(f"u{user}", rng.sample(codes, rng.randint(5, 9))) for user in range(users)]


def write(folder: Path, histories: list[tuple[str, list[str]]]) -> Path:
    folder.mkdir()
    (folder / "user_sequence.txt").write_text("".join(f"{user} {' '.join(items)}\n" for user, items in histories))
    items = sorted({item for _, history in histories for item in history})
    (folder / "item_plain_text.txt").write_text("".join(f"{item} title: thing {item}\n" for item in items))
    return folder


@pytest.mark.parametrize("downwards", [False, True])
def test_sequences_sorted_by_code_are_refused(tmp_path: Path, downwards: bool) -> None:
    """Prevents: training on "the next code", as the released Sports and Toys files make a model do."""
    defect = [(user, sorted(items, reverse=downwards)) for user, items in shopping(100)]
    with pytest.raises(GateRefused, match="sorted by item code") as caught:
        ingest(Ingest(format="p5"), write(tmp_path / "raw", defect), Layout(tmp_path, "toys"))
    assert caught.value.exit_code == 3
    assert not Layout(tmp_path, "toys").items.exists()


def test_true_order_passes(tmp_path: Path) -> None:
    """Prevents: a gate that refuses everything."""
    ingest(Ingest(format="p5"), write(tmp_path / "raw", shopping(100)), Layout(tmp_path, "toys"))
    assert Layout(tmp_path, "toys").items.exists()


def test_a_few_sorted_users_are_no_proof() -> None:
    """Prevents: refusing a hand-made file of 19 users whose items happen to be in order."""
    few = [(user, sorted(items)) for user, items in shopping(24)]
    found = sortedness(few[:15])
    assert found.share > 0.5
    assert not found.by_code


def test_codes_by_first_appearance_are_no_defect() -> None:
    """Prevents: refusing files whose items were numbered 1, 2, 3 as they came up (S3-Rec and others do that)."""
    numbers: dict[str, str] = {}
    histories = [
        (user, [numbers.setdefault(item, str(len(numbers) + 1)) for item in items]) for user, items in shopping(60)
    ]
    assert histories[0][1] == ["1", "2", "3", "4", "5", *histories[0][1][5:]]
    assert not sortedness(histories).by_code


def test_numbers_are_sorted_by_value() -> None:
    """Prevents: the defect unseen because "10" comes before "9" as text."""
    defect = [(user, sorted((item[1:].lstrip("0") or "0" for item in items), key=int)) for user, items in shopping(80)]
    assert sortedness(defect).by_code


@pytest.mark.real
@pytest.mark.parametrize("name", ["amazon-beauty", "amazon-sports", "amazon-toys"])
def test_real_histories_in_true_order_pass_and_sorted_ones_do_not(shared_data: Path, name: str) -> None:
    """Prevents: thresholds that only suit made-up data (ASINs rise with time, so true histories lean upwards)."""
    import polars as pl

    table = pl.read_csv(shared_data / name / "interactions.tsv.gz", separator="\t", infer_schema=False)
    histories = list(table.group_by("user_id", maintain_order=True).agg("item_id").head(4000).iter_rows())
    true = sortedness(histories)
    assert not true.by_code, true
    assert sortedness([(user, sorted(items)) for user, items in histories]).by_code


@pytest.mark.parametrize(
    ("lines", "message"),
    [("u1 a b\nu2\n", "lines without an item: 2"), ("u1 a b\nu1 c\n", "lines of a user that has another line: 1, 2")],
)
def test_lines_of_another_shape(tmp_path: Path, lines: str, message: str) -> None:
    """Prevents: a broken line silently dropped, or a user's history cut in two."""
    folder = write(tmp_path / "raw", shopping(3))
    (folder / "user_sequence.txt").write_text(lines)
    with pytest.raises(BadInput, match=message):
        ingest(Ingest(format="p5"), folder, Layout(tmp_path, "small"))

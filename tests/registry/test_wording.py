"""Reasons and sentences in words, in whatever language."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import BadInput
from components.ranking.clauses import Clause
from components.registry import wording
from components.registry.wording import Wording
from components.storage.artifacts import publish_json, read_json

NAMES = {"A": "Soap\n", "B": "x" * 70 + " long tail of words"}


@pytest.mark.parametrize(
    ("clauses", "line"),
    [
        ([Clause("next", "A", 1041)], "people who chose Soap took this next (1,041 people)"),
        ([Clause("together", "A", 3)], "often together with Soap (3 people)"),
        ([Clause("brand_and_kind", "A")], "same brand and kind as Soap"),
        ([Clause("words", "A", words=("honey", "mint"))], "like Soap in its words: honey, mint"),
        (
            [Clause("next", "A", 7), Clause("brand", "A")],
            "people who chose Soap took this next (7 people); same brand as it",
        ),
        ([Clause("kind", "B")], f"same kind as {'x' * 70} long…"),
        ([Clause("popular", people=12)], "popular (12 people)"),
        ([Clause("none")], "no single reason stands out"),
    ],
)
def test_clauses_in_one_line(clauses: list[Clause], line: str) -> None:
    """Prevents a count that is not said, a title said twice, and a line break in the middle."""
    assert Wording.of("en").reason(clauses, NAMES.__getitem__) == line


def test_another_language_is_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents English words in the code; a file that lacks a template, or has a field that nobody fills in."""
    english = read_json(Path(str(wording.FOLDER)) / "en.json")
    monkeypatch.setattr(wording, "FOLDER", tmp_path)
    with pytest.raises(BadInput, match="no sentences in 'xx'"):
        Wording.of("xx")
    publish_json(
        tmp_path / "xa.json", {name: text.upper().replace("{ITEM}", "{item}") for name, text in english.items()}
    )
    with pytest.raises(BadInput, match="'explained' is missing, unknown or has other fields"):
        Wording.of("xa")
    publish_json(tmp_path / "xb.json", {name: f"<{text}>" for name, text in english.items()})
    other = Wording.of("xb")
    assert other.reason([Clause("kind", "A")], NAMES.__getitem__) == "<same kind as Soap>"
    assert other.sentence(["A"], [], None) == "<After A: nothing is left to recommend.>"
    del english["none"]
    publish_json(tmp_path / "xc.json", english)
    with pytest.raises(BadInput, match="'none' is missing"):
        Wording.of("xc")

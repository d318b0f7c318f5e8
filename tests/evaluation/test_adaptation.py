"""The adaptation curve on its pages: in a browser, wide and narrow, light and dark; and of whose evaluation it is."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from components.errors import BadInput
from components.evaluation import adaptation
from components.evaluation.comparison.compare import compare
from components.evaluation.comparison.page import page as comparison
from components.evaluation.report import page
from components.storage.layout import Layout
from components.storage.manifest import sha256
from tests.browser import faint, opened, overflowing
from tests.evaluation.comparison.made import pair_of_sides
from tests.evaluation.made_curve import SIZES, curve
from tests.evaluation.made_report import examples, metrics


def reported(workspace: Path, found: dict[str, Any]) -> Path:
    """A report with a curve, as `idiom adapt --curve` leaves it."""
    layout = Layout(workspace, "demo")
    layout.report.parent.mkdir(parents=True, exist_ok=True)
    layout.report.write_text(page(metrics(), examples(), dataset="demo"), encoding="utf-8")
    adaptation.publish(layout, found)
    return layout.report


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_draws_every_line_and_says_where_they_cross(browser: Any, tmp_path: Path, scheme: Any) -> None:
    """Prevents: a line without a name, a name on another line, letters that cover one another or leave the page, and a
    picture that only those can read who see it."""
    path, found = reported(tmp_path, curve()), curve()
    for width in (1280, 390):
        with opened(browser, path, width=width, scheme=scheme) as shown:
            figure = shown.locator("figure.curve")
            assert overflowing(shown) == [] and faint(shown) == []
            ends = [each.split(" .") for each in figure.locator(".ends span").all_inner_texts()]
            figures = {name: float(f".{value}") for name, value in ends}
            assert set(figures) == {*(adaptation.LABELS[way] for way in found["curve"]["453"]), "what answers"}
            boxes = [each.bounding_box() for each in figure.locator(".ends span").all()]
            tops = [box["y"] for box in boxes if box]
            assert all(low - high >= 18 for high, low in pairwise(tops)), "one under the other"
            assert [*figures.values()] == sorted(figures.values(), reverse=True), "the best is the highest"
            assert figure.locator("g polygon").count() == 6 and figure.locator("g polyline").count() == 7
            heights = {
                line.locator(".dot").last.get_attribute("y1"): name
                for line, name in zip(figure.locator("g").all(), _names(found), strict=True)
            }
            drawn = [heights[at] for at in sorted(heights, key=float)]
            assert drawn == list(figures)
            alone = shown.locator("figure.curve svg").get_attribute("aria-label")
            assert alone and adaptation.sentences(found)[0] in alone
            table = shown.locator("table.stack", has_text="NDCG@10 by users that are known")
            assert table.locator("tbody tr").count() == 7
            assert table.locator("tbody tr").first.locator("td").count() == len(SIZES)


def test_the_report_is_written_once_more_and_nothing_else_in_it(tmp_path: Path) -> None:
    """Prevents: a second curve under the first, and other figures than `evaluate` wrote."""
    path = reported(tmp_path, curve())
    with_curve = path.read_text(encoding="utf-8")
    adaptation.publish(Layout(tmp_path, "demo"), curve())
    assert path.read_text(encoding="utf-8") == with_curve
    before, _, after = page(metrics(), examples(), dataset="demo").partition("<!-- curve -->")
    assert with_curve.startswith(before) and with_curve.endswith(after.partition("<!-- end of curve -->")[2])
    path.write_text("an old report", encoding="utf-8")
    with pytest.raises(BadInput, match="0 places for a curve"):
        adaptation.publish(Layout(tmp_path, "demo"), curve())


def _names(found: dict[str, Any]) -> list[str]:
    return [*(label for way, label in adaptation.LABELS.items() if way in found["curve"]["453"]), "what answers"]


def test_sentences_say_who_is_best_where() -> None:
    """Prevents: a best way that is best at another size, and a gain called clear that more users undo."""
    best, clear = adaptation.sentences(curve())
    assert best == (
        "Best, by how many users are known: foundation ranker at 0 to 10, few-shot at 30 to 100, foundation ranker at "
        "300 to all 453."
    )
    assert "few-shot from 100 on, foundation ranker from 100 on, own ranker from 300 on" in clear
    assert "graph + text not yet" in clear and "graph from 300 on" in clear and "300 test users" in clear


def test_a_curve_is_of_one_evaluation(tmp_path: Path) -> None:
    """Prevents: last month's curve beside this month's figures."""
    (tmp_path / "metrics.json").write_text("{}")
    paths = tmp_path / "curve.json", tmp_path / "metrics.json"
    assert adaptation.read(*paths) == {} and adaptation.shown({}) is None
    paths[0].write_text(json.dumps(curve(sha256(paths[1]))))
    assert adaptation.read(*paths)["users"] == 453
    paths[1].write_text('{"protocol": {}}')
    assert adaptation.read(*paths) == {}


def test_one_number_of_users_is_a_picture_too(browser: Any, tmp_path: Path) -> None:
    """Prevents: a curve of one point, or of sizes that all lie together, that divides by nothing."""
    whole = curve()
    for sizes in (["453"], ["300", "453"], ["10"]):
        few = whole | {"curve": {users: whole["curve"][users] for users in sizes}}
        path = reported(tmp_path, few)
        with opened(browser, path, width=390) as shown:
            assert overflowing(shown) == []
            boxes = [each.bounding_box() for each in shown.locator(".curve .along span").all()]
            ends = [(box["x"], box["x"] + box["width"]) for box in boxes if box]
            assert all(right < left for (_, right), (left, _) in pairwise(ends))
            named = shown.locator(".curve .ends").inner_text()
            assert (
                ("what answers" in named) == ("453" in sizes) == ("The dot" in shown.locator("figcaption").inner_text())
            )


def test_a_comparison_shows_the_curve_of_the_side_that_has_one(browser: Any, tmp_path: Path) -> None:
    """Prevents: an adapted version whose curve nobody sees beside the champion, and a heading without a curve."""
    a, b = pair_of_sides(users=300)
    for sides, count in (([a, replace(b, curve=curve())], 1), ([a, b], 0)):
        path = tmp_path / "compare.html"
        path.write_text(comparison(compare(sides, seed=1), dataset="demo"), encoding="utf-8")
        with opened(browser, path, width=390) as shown:
            assert shown.locator("figure.curve").count() == count
            assert shown.get_by_role("heading", name="version 12 with fewer users").count() == count
            assert overflowing(shown) == []

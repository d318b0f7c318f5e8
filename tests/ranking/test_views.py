"""Views in the ranker: their voices and shared tails against slow readings, and a taste that only pictures show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.errors import BadInput
from components.ranking.clauses import Clause
from components.ranking.explaining import Explainer
from components.ranking.features import Asked
from components.ranking.hybrid import Hybrid
from components.ranking.lists import Held
from components.ranking.load import load
from components.ranking.ranker import Ranker
from components.ranking.reading import Reader
from components.ranking.shared import shared, tails
from components.ranking.teaching import Choice, Taught, teach
from components.ranking.training import gains
from components.ranking.views import compared, controls, refuse_unknown, said, shuffled, with_views
from components.registry.wording import Wording
from components.settings.decoding import Decoding
from components.settings.ranking import Rank
from components.settings.voices import Voices
from components.storage.ragged import Ragged
from components.storage.vectors import Edges, Vectors
from components.voices.learned import Learned
from components.voices.load import build
from tests.ranking.shops import catalogue

ITEMS, OLD, USERS = 360, 72, 200
RANK = Rank(voices=["graph", "text"], evidence=["graph", "text"], candidates=30, epochs=5, batch_users=8)


def edges(rows: list[list[int]], kinds: list[int]) -> Edges:
    """Weights 1 / sqrt(tails of the item)."""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    data = np.concatenate([np.full(len(row), 1 / max(len(row), 1) ** 0.5) for row in rows]).astype(np.float32)
    return Edges(
        offsets, np.array([tail for row in rows for tail in row], np.int64), data, np.array(kinds, np.int32), ("a", "b")
    )


def shop() -> tuple[Learned, Held, dict[str, Vectors]]:
    """Everybody takes items of one of twelve colours: three old ones, then two of the many new ones, which hardly
    anybody else has taken, so that no graph reaches them; titles are alike."""
    draw = np.random.default_rng(3)
    colour = np.arange(ITEMS) % 12
    vectors = np.eye(12, dtype=np.float32)[colour] + draw.normal(0, 0.05, (ITEMS, 12)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[7] = 0  # has no picture
    rows = []
    for _ in range(USERS):
        own = np.flatnonzero(colour == draw.integers(12))
        rows.append(
            [*draw.permutation(own[: OLD // 12])[:3].tolist(), *draw.permutation(own[OLD // 12 :])[:2].tolist()]
        )
    histories = Ragged.of([row[:-1] for row in rows])
    learned = Learned(catalogue(ITEMS), histories, None, {"title": ["soap"] * ITEMS}, seed=3)
    held = Held(histories, np.full(len(histories.values), np.nan), np.array([row[-1] for row in rows], np.int64))
    return learned, held, {"shot": vectors}


def test_a_new_item_with_a_vector_is_proposed_to_whom_it_is_like() -> None:
    """`add-items` with a picture. Prevents: a new item that nobody sees, and scores of others that change."""
    learned, _, views = shop()
    title = {"title": ["soap"] * ITEMS}
    reader = Reader.build(replace(learned, views=views), with_views(RANK, views), Voices())
    vector = np.asarray(views["shot"])[40]
    longer = reader.extended(
        catalogue(ITEMS + 2), title, {"title": ["soap"] * 2, "view:shot": [vector, np.zeros_like(vector)]}
    )
    asked, days = Ragged.of([[4, 16, 28], [5]]), np.full(4, np.nan)
    before, after = (each.voices["view:shot"].scores(asked, days) for each in (reader, longer))
    np.testing.assert_allclose(after[:, :ITEMS], before, atol=1e-6)
    np.testing.assert_allclose(after[:, ITEMS], before[:, 40], atol=1e-6)
    assert after[0, ITEMS] > 1.5 > 0.3 > after[1, ITEMS] and not after[:, ITEMS + 1].any()
    links = longer._links["view:shot"]
    assert {each % 12 for each in links[[ITEMS]].indices[np.argsort(-links[[ITEMS]].data)[:20]]} == {4}
    assert links[40, ITEMS] > 0.9 and not links[[ITEMS + 1]].nnz
    block = next(iter(longer.blocks(asked, days)))
    assert ITEMS in block.candidates.items[block.candidates.owners == 0]


@pytest.mark.parametrize("sparse", [False, True])
def test_the_voice_of_a_view_sums_cosines_and_an_item_is_not_like_itself(sparse: bool, tmp_path: Path) -> None:
    learned, _, views = shop()
    rows = [[number % 6, 6 + number % 5] for number in range(ITEMS)]
    given = {"shot": edges(rows, [0] * 6 + [1] * 5)} if sparse else views
    voice = build("view:shot", replace(learned, views=given))
    dense = np.asarray(views["shot"])
    if sparse:
        dense = np.zeros((ITEMS, 11), np.float32)
        for number, row in enumerate(rows):
            dense[number, row] = 0.5**0.5
    asked = [[4, 10, 7], [], [1]]
    found = voice.scores(Ragged.of(asked), np.full(4, np.nan))
    for row, history in zip(found, asked, strict=True):
        slow = np.zeros(ITEMS)
        for back, item in enumerate(reversed(history)):
            cosines = dense @ dense[item]
            cosines[item] = 0
            slow += 0.8**back * cosines
        assert np.allclose(row, slow, atol=1e-5)
    near = voice.similar(replace(learned, views=given), 3)  # type: ignore[attr-defined]
    assert near.diagonal().sum() == 0 and np.diff(near.indptr).max() <= 3
    voice.save(tmp_path / "voice")
    again = load(tmp_path / "voice").recommend([["i004"]], 5, Decoding())
    assert again == voice.recommend([["i004"]], 5, Decoding())


def test_shared_tails_are_counted_by_relation() -> None:
    draw = np.random.default_rng(1)
    rows = [
        sorted({*draw.integers(0, 5, 2).tolist(), *(5 + draw.integers(0, 3, 2)).tolist()}) for _ in range(ITEMS - 1)
    ]
    rows.append([])
    given = edges(rows, [0] * 5 + [1] * 3)
    learned = Learned(catalogue(ITEMS), Ragged.of([[0]]), views={"kg": given})
    names = ["kg.a", "kg.b"]
    histories = Ragged.of([[3, 9, 20], [], [5]])
    owners = np.repeat([0, 1, 2], 20).astype(np.int64)
    items = np.tile(np.arange(30, 50), 3).astype(np.int64)
    asked = Asked(histories, np.full(4, np.nan), owners, items)
    found = shared(tails(learned, names), asked, names, most=2)
    weight = np.zeros((ITEMS, 8))
    for number, row in enumerate(rows):
        weight[number, row] = 1 / max(len(row), 1) ** 0.5
    for relation, columns in enumerate(found):
        own = weight * (np.array([0] * 5 + [1] * 3) == relation)
        for at, (owner, item) in enumerate(zip(owners, items, strict=True)):
            newest = histories.row(owner)[-2:]
            links = [float(own[each] @ own[item]) for each in newest]
            paths = sum(int(((own[each] > 0) & (own[item] > 0)).sum()) for each in newest)
            wanted = [links[-1] if links else 0, paths, sum(links) / max(len(links), 1)]
            assert np.allclose(columns[at], wanted, atol=1e-5)


def test_a_taste_that_only_pictures_show_is_learned_and_shuffled_pictures_say_nothing(tmp_path: Path) -> None:
    """The right answer is known: with the view the ranker is near one in its colour, shuffled it is as good as without.
    Prevents: a gain of views that is the gain of more features."""
    learned, held, views = shop()

    def taught(given: dict[str, Vectors]) -> Taught:
        return teach(replace(learned, views=given), held, with_views(RANK, given), Voices(), core=0)

    real = taught(views)
    spoilt = controls(taught, views, seed=3)  # type: ignore[arg-type]
    found = compared(real, spoilt)
    assert found["shuffled"]["interval"][0] > 0 and found["without"]["interval"][0] > 0
    assert found["with_views"]["ndcg_at_10"] > 1.5 * found["shuffled"]["ndcg_at_10"]
    assert all(line.startswith("Views are better than") for line in found["says"]) and found["in_words"] == []
    assert spoilt["without"] is None  # nobody proposes a new item, so that there is nothing to learn
    assert found["taken"] == "with_views" and spoilt["shuffled"]
    assert gains(spoilt["shuffled"].choice.ranks["sum"]).mean() < gains(real.choice.ranks["sum"]).mean()


def test_the_report_says_by_itself_when_a_view_is_worth_nothing() -> None:
    nothing = {"gain": 0.001, "interval": [-0.002, 0.004], "ndcg_at_10": 0.1}
    assert "cannot be told" in said({"shuffled": nothing})[1][0]
    assert "goes without them" in said({"without": {**nothing, "interval": [-0.004, -0.001]}})[1][0]


def test_views_that_are_worse_beyond_chance_are_not_taken() -> None:
    """Prevents: a ranker that is published with what its own validation says is noise; or one that loses its views,
    which new items need, by a difference that is chance."""

    def ranked(ranks: list[int]) -> Taught:
        choice = Choice(Ranker((), (), None, "sum"), {"sum": np.array(ranks)}, {}, (0.0, 0.0, 0.0))  # type: ignore[arg-type]
        return Taught(choice, None, Voices())  # type: ignore[arg-type]

    good, bad = ranked([1, 2] * 200), ranked([4, 5] * 200)
    assert compared(bad, {"shuffled": bad, "without": good})["taken"] == "without"
    assert compared(good, {"shuffled": bad, "without": bad})["taken"] == "with_views"
    assert compared(ranked([2, 1] * 200), {"shuffled": bad, "without": good})["taken"] == "with_views"
    assert compared(bad, {"shuffled": good})["taken"] == "with_views"


def test_the_voice_of_a_view_that_is_not_there_is_refused() -> None:
    """Prevents: a traceback of a name that the user wrote, and a control without views that asks for one."""
    chosen = Rank(voices=["text", "view:poster"], evidence=["text"])
    with pytest.raises(BadInput, match="'view:poster' is the voice of a view that is not there"):
        refuse_unknown(chosen, {"tone": np.eye(3, dtype=np.float32)})
    refuse_unknown(chosen, {"poster": np.eye(3, dtype=np.float32)})
    assert with_views(chosen, {}).voices == ["text"]


def test_a_saved_hybrid_with_views_needs_no_view_to_answer(tmp_path: Path) -> None:
    learned, held, views = shop()
    given = views | {"kg": edges([[number % 6, 6 + number % 5] for number in range(ITEMS)], [0] * 6 + [1] * 5)}
    learned = replace(learned, views=given)
    found = teach(learned, held, with_views(RANK, given), Voices(), core=0)
    assert any(each.name == "view:kg.a.paths" for each in found.reader.features)
    hybrid = Hybrid.of(found.choice.ranker, found.reader, learned.catalogue, Voices())
    hybrid.save(tmp_path / "hybrid")
    asked = [["i004", "i010"], ["i007"], []]
    loaded = load(tmp_path / "hybrid")
    assert isinstance(loaded, Hybrid)
    assert loaded.recommend(asked, 5, Decoding()) == hybrid.recommend(asked, 5, Decoding())
    # Vectors of texts were made in `rank` alone: whoever builds the voices anew has them from the hybrid.
    again = loaded.rebuilt(replace(learned, views={"kg": given["kg"]}))
    assert again.recommend(asked, 5, Decoding()) == hybrid.recommend(asked, 5, Decoding())


def test_a_new_item_has_no_view_and_changes_nothing_for_others() -> None:
    """Prevents: a shop with views that can add no item without training again."""
    learned, held, views = shop()
    given = views | {"kg": edges([[number % 6, 6 + number % 5] for number in range(ITEMS)], [0] * 6 + [1] * 5)}
    learned = replace(learned, views=given)
    found = teach(learned, held, with_views(RANK, given), Voices(), core=0)
    hybrid = Hybrid.of(found.choice.ranker, found.reader, learned.catalogue, Voices())
    longer = hybrid.lengthened(catalogue(ITEMS + 3), {"title": ["soap"] * ITEMS}, {"title": ["soap"] * 3})
    asked = [["i004", "i010"], ["i007"]]
    before, after = (each.recommend(asked, 5, Decoding()) for each in (hybrid, longer))
    assert [[one.item_id for one in row] for row in after] == [[one.item_id for one in row] for row in before]
    view = longer.reader.voices["view:shot"].scores(Ragged.of([[4, 10]]), np.full(2, np.nan))
    assert (view[0, ITEMS:] == 0).all() and view[0, :ITEMS].any()


def test_what_is_said_of_relations_is_true_and_said_where_they_decided() -> None:
    """Prevents: `same director as X` of two items that share none, and a reason in words where a picture decided."""
    learned, held, _ = shop()
    colour = [number % 12 for number in range(ITEMS)]
    rows = [[each, 12 + number % 7] if number % 5 else [each] for number, each in enumerate(colour)]
    learned = replace(learned, views={"kg": edges(rows, [0] * 12 + [1] * 7)})
    found = teach(learned, held, with_views(RANK, learned.views), Voices(), core=0)
    hybrid = Hybrid.of(found.choice.ranker, found.reader, learned.catalogue, Voices()).with_facts(learned)
    assert hybrid.facts is not None
    for had, result in ((3, 15), (3, 10), (3, 87), (4, 5), (0, 60)):
        both = {("a", "b")[tail >= 12] for tail in {*rows[had]} & {*rows[result]}}
        said = [clause for clause in hybrid.facts.clauses(had, result) if clause.kind == "relation"]
        assert {word for clause in said for word in clause.words} == both
        assert all(clause.item == learned.catalogue.table.item_ids[had] for clause in said)
    histories = [[learned.catalogue.table.item_ids[item] for item in held.histories.row(user)] for user in range(20)]
    lists = [[each.item_id for each in row] for row in hybrid.recommend(histories, 5, Decoding())]
    given = [clause for row in Explainer(hybrid).of(histories, lists) for why in row for clause in why]
    assert sum(clause.kind == "relation" for clause in given) > len(given) / 2
    assert Wording.of("en").reason([Clause("relation", "i3", words=("director",))], str) == "same director as i3"


def test_shuffled_views_move_every_item_that_has_one() -> None:
    _, _, views = shop()
    mixed = np.asarray(shuffled(views, 1)["shot"])
    real = np.asarray(views["shot"])
    moved = ~(mixed == real).all(axis=1)
    assert moved[np.arange(ITEMS) != 7].all() and (mixed[7] == 0).all()
    assert {row.tobytes() for row in mixed} == {row.tobytes() for row in real}

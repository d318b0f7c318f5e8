"""The ranker over its voices as a whole. What every recommender promises stands in test_every_recommender.py."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from components.errors import BadInput
from components.ranking.hybrid import Hybrid
from components.ranking.leaving import left_out
from components.ranking.lists import Held, Lists
from components.ranking.load import load
from components.ranking.network import ListNetwork
from components.ranking.ranker import Ranker
from components.ranking.reading import Reader
from components.ranking.teaching import Taught, as_if_new, held_out, teach
from components.ranking.training import gains
from components.settings.ranking import Rank
from components.settings.voices import Voices
from components.storage.ragged import Ragged
from components.voices.learned import Learned
from components.voices.lists import best, places
from tests.ranking.conftest import RANK
from tests.ranking.shops import shop
from tests.workspaces import REPOSITORY


def test_it_learns_what_comes_next(taught: Taught, learned: tuple[Learned, Held]) -> None:
    """Prevents a ranker that learns nothing: of three items that are equally likely .71 can be had."""
    lists = Lists.read(taught.reader, learned[1])
    alone = max(
        gains(lists.ranks(-lists.columns[:, at].astype(np.float32), masked=True)).mean()
        for at, each in enumerate(lists.features)
        if each.name.endswith(".rank")
    )
    assert min(gains(ranks).mean() for ranks in taught.choice.ranks.values()) > max(0.9 * alone, 0.5)
    assert taught.choice.ranker.used in ("network", "sum")
    report = taught.choice.report()
    assert list(report["weights"]) != sorted(report["weights"]) and len(report["weights"]) == len(lists.features)


def test_ranks_are_those_in_the_lists(hybrid: Hybrid, taught: Taught, learned: tuple[Learned, Held]) -> None:
    """Prevents figures of a ranker that is not the one that recommends."""
    _, valid = learned
    lists = Lists.read(taught.reader, valid)
    scores = taught.choice.ranker.scores(lists.columns)
    for masked in (True, False):
        expected = places(
            hybrid.scores(valid.histories, valid.days),
            valid.targets,
            least=hybrid.LEAST,
            excluded=valid.histories if masked else None,
        )
        assert np.array_equal(lists.ranks(scores, masked=masked), expected)


def test_answers_are_the_same_in_any_company(
    hybrid: Hybrid, learned: tuple[Learned, Held], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a score whose last bits, and so a list whose order, depend on who asks beside it. To the last bit."""
    _, valid = learned
    whole = hybrid.scores(valid.histories, valid.days)
    order = np.random.default_rng(2).permutation(len(whole))[:50]
    owners, _, values = valid.histories.gather(order)
    days = valid.days[valid.histories.offsets[order][owners] + np.arange(len(owners)) - np.searchsorted(owners, owners)]
    shuffled = Ragged(np.concatenate([[0], np.cumsum(valid.histories.lengths_of(order))]), values)
    assert np.array_equal(hybrid.scores(shuffled, days), whole[order])
    monkeypatch.setattr("components.ranking.reading._CELLS", 120)
    assert np.array_equal(hybrid.scores(valid.histories, valid.days), whole)


def test_teaching_again_gives_the_same_bytes(
    hybrid: Hybrid, taught: Taught, learned: tuple[Learned, Held], tmp_path: Path
) -> None:
    """Prevents a ranker that another night's run does not give again, and one that does not hear its seed."""
    again = teach(*learned, RANK, Voices(), core=3).choice.ranker
    one, two = taught.choice.ranker.arrays(), again.arrays()
    assert one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)
    other = teach(replace(learned[0], seed=4), learned[1], RANK, Voices(), core=3).choice.ranker.arrays()
    assert not np.array_equal(one["0.layers.0.weight"], other["0.layers.0.weight"])
    hybrid.save(tmp_path / "one")
    loaded = load(tmp_path / "one")
    assert isinstance(loaded, Hybrid) and loaded.ranker.used == hybrid.ranker.used
    _, valid = learned
    assert np.array_equal(loaded.scores(valid.histories, valid.days), hybrid.scores(valid.histories, valid.days))


def test_voices_are_rebuilt_under_the_same_ranker(hybrid: Hybrid, learned: tuple[Learned, Held]) -> None:
    """Prevents a refit that teaches the ranker on what it will be asked for."""
    own, valid = learned
    rows = [[*row.tolist(), int(target)] for row, target in zip(own.histories, valid.targets, strict=True)]
    days = [
        [*own.days[first:end].tolist(), own.days[end - 1] + 1.0]
        for first, end in zip(own.histories.offsets[:-1], own.histories.offsets[1:], strict=True)
    ]
    more = replace(own, histories=Ragged.of(rows), known_days=np.concatenate(days))
    refit = hybrid.rebuilt(more)
    assert not np.array_equal(refit.arrays["reader/days"], hybrid.arrays["reader/days"])
    for name, array in hybrid.ranker.arrays().items():
        assert np.array_equal(array, refit.ranker.arrays()[name])
    found, _ = best(refit.scores(valid.histories, valid.days), 5, least=refit.LEAST, excluded=valid.histories)
    before, _ = best(hybrid.scores(valid.histories, valid.days), 5, least=hybrid.LEAST, excluded=valid.histories)
    assert (found == valid.targets[:, None]).sum() > (before == valid.targets[:, None]).sum()


def test_people_who_buy_again_are_ranked_by_it() -> None:
    """Prevents a shop of repeat buyers in which what a user has never comes first."""
    own, _ = shop(users=80, drop_repeats=False)
    rows = [[*row.tolist(), int(row[-1]), int(row[-1])] for row in own.histories]
    histories = Ragged.of([row[:-1] for row in rows])
    again = replace(own, histories=histories, known_days=None)
    held = Held(histories, np.full(len(histories.values), np.nan), np.array([row[-1] for row in rows], np.int64))
    taught = teach(again, held, replace(RANK, holdouts=1), Voices(), core=0)
    assert gains(taught.choice.ranks["network"]).mean() > 0.9


@pytest.mark.parametrize("masked", [True, False])
def test_the_only_voice_can_be_left_out(learned: tuple[Learned, Held], masked: bool) -> None:
    """Prevents a traceback at the end of `evaluate`: without its only voice a ranker proposes nothing."""
    known, held = learned
    rank = replace(RANK, voices=["graph"], evidence=["graph"], holdouts=1, networks=1, epochs=1)
    taught = teach(known, held, rank, Voices(), core=3)
    found = left_out(Hybrid.of(taught.choice.ranker, taught.reader, known.catalogue, Voices()), held, masked=masked)
    own = np.array([target in history for history, target in zip(held.histories, held.targets, strict=True)])
    assert found.whole.any() and not found.without["graph"][masked | ~own].any()


def test_every_voice_with_links_can_be_evidence(learned: tuple[Learned, Held]) -> None:
    """Prevents settings that refuse what the reader can read, or take what it cannot."""
    names = Voices.linked()
    reader = Reader.build(learned[0], Rank(voices=names, evidence=names), Voices(), core=3)
    assert all(links.nnz for links in reader._links.values())


def test_a_hidden_item_is_known_by_its_text_alone(learned: tuple[Learned, Held]) -> None:
    """Prevents a ranker taught what to do with new items by items that a voice knows events of."""
    left, held = held_out(learned[0])
    known, asked = as_if_new(left, held, 0.3)
    gone = set(range(len(left.catalogue.table))) - {*known.histories.values.tolist()}
    assert gone and {*asked.targets.tolist()} <= gone, "who asks took a hidden item next"
    assert len(known.histories) == len(left.histories) and known.known_days is not None
    kept = [(item, day) for item, day in zip(left.histories.values, left.days, strict=True) if int(item) not in gone]
    assert kept == list(zip(known.histories.values, known.known_days, strict=True))
    assert all(len(row) for row in asked.histories) and len(asked.days) == len(asked.histories.values)
    assert not {*asked.histories.values.tolist()} & gone
    rank = replace(RANK, holdouts=1, networks=1, hidden_items=0.3)
    assert teach(*learned, rank, Voices(), core=3).choice.ranker.arrays()


def test_a_shop_with_nothing_to_learn_is_refused_in_words() -> None:
    """Prevents a network without a sample, whose lists are chance."""
    own, held = shop(users=1)
    alone = Ragged.of([[3]])
    with pytest.raises(BadInput, match="nothing to learn"):
        teach(
            replace(own, histories=alone, known_days=None),
            Held(alone, np.full(1, np.nan), held.targets[:1]),
            RANK,
            Voices(),
            core=0,
        )


def test_a_taught_network_answers_without_torch(taught: Taught, learned: tuple[Learned, Held]) -> None:
    """Prevents a ranker that answers otherwise than it was taught, and a command line that waits for a library that it
    does not need."""
    torch.manual_seed(3)
    for hidden in ((), (7, 5)):
        network = ListNetwork(9, hidden, 0.1).eval()
        columns = np.random.default_rng(1).normal(size=(50, 9)).astype(np.float16)
        network.standardise(columns)
        expected = network(torch.from_numpy(columns).float()).detach().numpy()
        assert np.allclose(network.taught().scores(columns), expected, atol=1e-5)
        assert network.taught().shape == (9, *hidden)
    code = "import sys, components.ranking.hybrid, components.ranking.explaining; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


def test_arrays_of_another_network_are_refused(hybrid: Hybrid) -> None:
    """Prevents a damaged file that ranks by chance."""
    names, arrays = hybrid.ranker.features, hybrid.ranker.arrays()
    for hidden, features in ((RANK.hidden, names[1:]), ([5], names)):
        with pytest.raises(ValueError, match="no ranker of"):
            Ranker.of(arrays, features, hidden)
    with pytest.raises(ValueError, match="no ranker of"):
        Ranker.of({name: each for name, each in arrays.items() if name != "0.layers.0.bias"}, names, RANK.hidden)

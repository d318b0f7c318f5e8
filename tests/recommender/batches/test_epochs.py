"""Epochs: every sample once in a random order that is not stored, in batches of like length under a budget."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.recommender.batches import epochs
from components.recommender.batches.epochs import MULTIPLE, SHAPES, Epoch, Ints, grouped, padded_lengths
from components.recommender.batches.samples import Samples
from components.recommender.batches.shuffle import Shuffle
from components.recommender.batches.windows import Windows
from components.recommender.prompts.phrasings import prompts_of
from components.settings.train import Family
from components.storage.ragged import Ragged
from components.textid.words.normal import normalise
from components.textid.writing.imported import read_imported

FAMILIES: list[Family] = ["encoder-decoder", "decoder-only"]


def training_set_of(family: Family, histories: Ragged, ids: Sequence[tuple[int, ...]], tokenizer: Any) -> Any:
    """What a recommender of that family learns from: a prefix a row, or a history a row."""
    pieces = prompts_of(family).tokenise(tokenizer)
    if family == "encoder-decoder":
        return Samples(histories, ids, pieces, end_token=1, max_history=20)
    return Windows(histories, ids, pieces, max_history=20)


def test_a_shuffle_has_every_number_once() -> None:
    """Prevents samples that are lost or seen twice: the order is computed piece by piece and never looked at whole."""
    for count in [*range(0, 70), 255, 256, 257, 1000]:
        order = Shuffle(count, 17, 3)
        pieces = [order.take(start, start + 13) for start in range(0, count, 13)]
        assert sorted(itertools.chain(*pieces)) == list(range(count))


def test_a_shuffle_is_a_random_order() -> None:
    """Prevents an order in which neighbours stay together (a user's prefixes in one batch), and epochs that are alike;
    the draws are fixed, so this cannot flake."""
    count = 50_000
    orders = [Shuffle(count, *seed).take(0, count) for seed in ((17, 0), (17, 1), (18, 0))]
    for order in orders:
        assert abs(np.corrcoef(order, np.arange(count))[0, 1]) < 0.02
        assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.02
        # Of a random order's neighbours, 40 in 50,000 are at most 20 apart.
        assert (np.abs(np.diff(order)) <= 20).sum() < 100
        first = np.sort(order[: count // 10])
        assert np.abs(first / count - np.arange(len(first)) / len(first)).max() < 0.03
    assert all((one == other).mean() < 0.01 for one, other in itertools.combinations(orders, 2))


@dataclass(frozen=True)
class Numbers(epochs.Drawn):
    """Samples that know nothing but their numbers."""

    numbers: Ints


def numbers_of(lengths: Ints, **sizes: Any) -> Epoch[Numbers]:
    return Epoch(
        len(lengths),
        lambda samples, random: (Numbers(samples, 0, samples), lengths[samples]),
        padded_lengths(lengths),
        seed=1,
        number=2,
        **{"batch_size": 8, **sizes},
    )


@pytest.mark.parametrize("sizes", [{}, {"batch_tokens": 300}])
@pytest.mark.parametrize("count", [0, 1, 7, 64, 500])
def test_portions_together_have_every_sample_once(
    sizes: dict[str, int], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents samples lost where one portion ends; batches are found by number, in any order."""
    monkeypatch.setattr(epochs, "PORTION", 48)
    lengths = np.random.default_rng(0).integers(3, 90, size=count)
    epoch = numbers_of(lengths, **sizes)
    seen = [epoch[at] for at in reversed(range(len(epoch)))][::-1]
    assert sorted(number for batch in seen for number in batch.numbers) == list(range(count))
    assert all((lengths[batch.numbers] <= batch.length).all() for batch in seen)
    again = numbers_of(lengths, **sizes)
    assert [(batch.numbers.tolist(), batch.length) for batch in again] == [(b.numbers.tolist(), b.length) for b in seen]
    if sizes:
        assert all(len(batch.numbers) * batch.length <= 300 for batch in seen)
    else:
        assert sum(len(batch.numbers) < 8 for batch in seen) <= 1
        assert len(epoch) == -(-count // 8)
    tokens, room = lengths.sum(), sum(len(batch.numbers) * batch.length for batch in seen)
    assert again.padding == pytest.approx(1 - tokens / max(room, 1) if count else 1.0)
    assert numbers_of(lengths, **sizes).padding == again.padding, "a resumed epoch has not planned its first portions"


def test_every_portion_of_every_epoch_of_every_run_draws_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents phrasings that are the same in each portion, and portions of the same samples in each epoch or run."""
    monkeypatch.setattr(epochs, "PORTION", 48)
    lengths = np.full(96, 8)

    def drawn(seed: int, number: int) -> list[tuple[list[int], list[int]]]:
        portions = []

        def draw(samples: Ints, random: np.random.Generator) -> tuple[Numbers, Ints]:
            portions.append((samples.tolist(), random.integers(9, size=len(samples)).tolist()))
            return Numbers(samples, 0, samples), lengths[samples]

        list(Epoch(96, draw, padded_lengths(lengths), seed=seed, number=number, batch_size=8))
        return portions

    found = [drawn(seed, number) for seed, number in ((1, 2), (2, 2), (1, 3))]
    assert len({tuple(samples) for portions in found for samples, _ in portions}) == 6
    assert len({tuple(phrasings) for portions in found for _, phrasings in portions}) == 6


def test_a_row_beyond_the_budget_comes_alone() -> None:
    """Prevents a history that is never taught, or a division by nothing, where the budget is smaller than it."""
    epoch = numbers_of(np.array([4, 90, 4, 4]), batch_tokens=16)
    assert sorted(len(batch.numbers) for batch in epoch) == [1, 3]


def test_a_larger_budget_makes_fewer_batches_and_few_of_them_small() -> None:
    """Prevents a budget that is filled by halves: short rows come in large batches."""
    lengths = np.random.default_rng(0).integers(3, 90, size=4000)
    epoch = numbers_of(lengths, batch_tokens=2048)
    room = np.array([len(batch.numbers) * batch.length for batch in epoch])
    assert room.max() <= 2048
    assert (room < 1024).sum() <= 1 and room.mean() > 0.93 * 2048


def test_padded_lengths_are_the_best_there_are() -> None:
    """The dynamic programme against all choices: a wrong step would only cost time, and nobody would see it."""
    random = np.random.default_rng(3)
    for shapes in (1, 2, 3):
        for _ in range(10):
            lengths = np.minimum(random.geometric(0.06, size=60), 60)
            edges = np.unique(-(-lengths // MULTIPLE) * MULTIPLE)
            found = padded_lengths(lengths, shapes=shapes)

            def cost(chosen: Ints, lengths: Ints = lengths) -> int:
                return int(chosen[np.searchsorted(chosen, lengths)].sum())

            choices = itertools.combinations(edges[:-1].tolist(), min(shapes, len(edges)) - 1)
            assert cost(found) == min(cost(np.array([*choice, edges[-1]])) for choice in choices)
            assert len(found) <= shapes
    assert padded_lengths(np.array([5, 9]), longest=33).tolist() == [8, 12, 36]


def test_batches_of_a_portion_are_in_random_order() -> None:
    """Prevents an epoch that goes from short histories to long ones: the last steps would forget the short."""
    lengths = np.sort(np.random.default_rng(0).integers(1, 100, size=3000))
    random = np.random.default_rng(1)
    sizes, alike = np.full(SHAPES, 10), np.zeros(3000, np.int64)
    order = [length for _, length in grouped(lengths, padded_lengths(lengths), sizes, random, alike=alike)]
    assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 0.15


@pytest.mark.parametrize("family", FAMILIES)
def test_one_prefix_is_another_in_every_epoch_and_the_whole_history_sooner_or_later(
    family: Family, tokenizer: Any
) -> None:
    """Prevents an epoch of minutes that shows each user the same target for ever."""
    offsets, items = np.array([0, 4, 4, 5, 12]), np.arange(12)
    training_set = training_set_of(family, Ragged(offsets, items), [(3, 4)] * 12, tokenizer)
    phrasings = len(prompts_of(family).tokenise(tokenizer))

    def drawn(number: int) -> tuple[list[int], list[int]]:
        rows = list(training_set.epoch(seed=1, number=number, batch_size=4, prefixes="one"))
        places = [row.targets if family == "encoder-decoder" else row.spans.end - 1 for row in rows]
        return sorted(np.concatenate(places).tolist()), np.concatenate([row.templates for row in rows]).tolist()

    found = [drawn(number) for number in range(60)]
    assert all(np.searchsorted(offsets, targets, "right").tolist() == [1, 4] for targets, _ in found)
    assert {target for targets, _ in found for target in targets} == {1, 2, 3, 6, 7, 8, 9, 10, 11}
    assert len({template for _, templates in found for template in templates}) == phrasings
    assert found[5] == drawn(5)


def test_padded_lengths_hold_samples_that_were_not_looked_at(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a crash in an epoch of a hundred million samples, of which only a part decides the lengths."""
    monkeypatch.setattr("components.recommender.batches.prefixes.LOOKED_AT", 2)
    offsets, items = np.arange(0, 101, 10), np.arange(100)
    ids = [(3,) * (1 + 9 * (number in (17, 58, 83))) for number in range(100)]
    for family in FAMILIES:
        training_set = training_set_of(family, Ragged(offsets, items), ids, tokenizer)
        for prefixes in ("all", "one"):
            for rows in training_set.epoch(seed=1, number=0, batch_size=4, prefixes=prefixes):
                assert int(training_set.collate(rows).attention_mask.sum()) > 0


@pytest.mark.real
@pytest.mark.parametrize("family", FAMILIES)
def test_padding_is_under_a_tenth_on_real_histories(family: Family, shared_data: Path, tokenizer: Any) -> None:
    """Prevents a change of buckets that wastes a training's time unseen. IDs are the reference ones, a token for each
    five letters, which is what a vocabulary of 4,096 comes to (6.7 tokens)."""
    folder = shared_data / "amazon-beauty"
    words = read_imported(folder / "reference_ids.tsv.gz")
    number = {item: at for at, item in enumerate(sorted(words))}
    ids = [(3,) * max(1, min(10, sum(-(-len(w) // 5) for w in normalise(words[item]).split()))) for item in number]
    with gzip.open(folder / "interactions.tsv.gz", "rt", encoding="utf-8") as stream:
        rows = [line.split("\t") for line in stream.read().splitlines()[1:]]
    users: dict[str, list[tuple[int, int]]] = {}
    for user, item, position, *_ in rows:
        users.setdefault(user, []).append((int(position), number[item]))
    packed = Ragged.of([[item for _, item in sorted(history)][:-2] for history in users.values()])
    training_set = training_set_of(family, packed, ids, tokenizer)
    for prefixes in ("all", "one"):
        for sizes in ({"batch_size": 64}, {"batch_size": 64, "batch_tokens": 4096}):
            epoch = training_set.epoch(seed=17, number=0, prefixes=prefixes, **sizes)
            assert 0.0 < epoch.padding < 0.1
            assert len(training_set.lengths(prefixes)) <= SHAPES + 1

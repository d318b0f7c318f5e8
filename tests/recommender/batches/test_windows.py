"""Whole histories: their loss is that of all prefixes; every item is taught once, from the prompt that is decoded."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from components.networks.causal import Causal
from components.recommender.batches.batch import IGNORED, batch_of
from components.recommender.batches.samples import Samples
from components.recommender.batches.windows import Windows
from components.recommender.loss.batch_loss import batch_loss
from components.recommender.prompts.phrasings import Pieces, prompts_of
from components.storage.ragged import Ragged
from tests.networks.causal_models import CAUSAL_KINDS, END, make_causal

TOKEN_IDS = [tuple(range(3, 4 + number % 5)) for number in range(12)]
SETTINGS: list[dict[str, int]] = [{"max_history": 6}, {"max_history": 20}, {"max_history": 20, "max_tokens": 25}]


def histories(users: int = 30, longest: int = 30) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    lengths = random.integers(0, longest, size=users)
    return np.concatenate([[0], np.cumsum(lengths)]), random.integers(len(TOKEN_IDS), size=int(lengths.sum()))


def pieces_of(tokenizer: Any) -> Pieces:
    return prompts_of("decoder-only").tokenise(tokenizer)


def windows(tokenizer: Any, **settings: int) -> Windows:
    return Windows(Ragged(*histories()), TOKEN_IDS, pieces_of(tokenizer), **settings)


@pytest.mark.parametrize("kind", CAUSAL_KINDS)
def test_one_forward_has_the_loss_of_all_prefixes(tokenizer: Any, kind: str) -> None:
    """The reason for this family: another prompt format, mask or position in the one forward would teach another task
    than the one that is decoded."""
    model = Causal(make_causal(kind, len(tokenizer)).double(), end_token=END)
    offsets, items = histories(users=9, longest=7)
    pieces = pieces_of(tokenizer)
    packed = Windows(Ragged(offsets, items), TOKEN_IDS, pieces, max_history=6)
    one_by_one, together, tokens = 0.0, 0.0, 0
    for rows in packed.epoch(seed=1, number=0, batch_size=4):
        with torch.no_grad():
            loss = batch_loss(model, packed.collate(rows))
        together, tokens = together + float(loss.total), tokens + loss.count
        for first, end, template in zip(rows.spans.first, rows.spans.end, rows.templates, strict=True):
            ids = [TOKEN_IDS[item] for item in items[first:end]]
            prompts = [pieces.build(int(template), ids[:count], max_tokens=512) for count in range(len(ids))]
            with torch.no_grad():
                one_by_one += float(batch_loss(model, batch_of(prompts, ids, end_token=END)).total)
    assert tokens == sum(len(TOKEN_IDS[item]) + 1 for item in items)
    # Cross-entropies are summed in float32: some 7 digits of sums of hundreds of nats.
    assert together / tokens == pytest.approx(one_by_one / tokens, abs=1e-5)


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_item_is_taught_once_from_the_prompt_that_is_decoded(tokenizer: Any, settings: dict[str, int]) -> None:
    """A cut history must lose and double no item, and its newest one is read as the engine will build its prompt."""
    offsets, items = histories()
    pieces, packed = pieces_of(tokenizer), windows(tokenizer, **settings)
    longest = max(map(len, pieces.heads))
    taught: list[int] = []
    for rows in packed.epoch(seed=1, number=0, batch_size=7):
        batch = packed.collate(rows)
        assert batch.inline and batch.target_tokens == int((batch.labels != IGNORED).sum())
        for row, (first, start, end) in enumerate(
            zip(rows.spans.first, rows.spans.taught, rows.spans.end, strict=True)
        ):
            template = int(rows.templates[row])
            ids = [TOKEN_IDS[item] for item in items[first:end]]
            whole = [*pieces.heads[template], *(token for item in ids for token in (*item, END))]
            length = int(batch.attention_mask[row].sum())
            assert batch.input_ids[row, :length].tolist() == whole[:-1]
            written = [token for item in items[start:end] for token in (*TOKEN_IDS[item], END)]
            labels = batch.labels[row, :length].tolist()
            assert labels == [IGNORED] * (length - len(written)) + written
            assert set(batch.labels[row, length:].tolist()) <= {IGNORED}
            begin = int(offsets[np.searchsorted(offsets, first, side="right") - 1])
            history = [TOKEN_IDS[item] for item in items[begin : end - 1]]
            limit = settings.get("max_tokens", 512) - longest + len(pieces.heads[template])
            slow = pieces.build(template, history, max_tokens=limit, max_items=settings["max_history"])
            assert tuple(whole[: length - len(TOKEN_IDS[items[end - 1]])]) == slow.token_ids
            taught += range(start, end)
    assert sorted(taught) == list(range(len(items)))


def test_a_cut_history_leaves_half_a_window_before_each_item(tokenizer: Any) -> None:
    """Windows without overlap would teach their first items as if nothing had been bought before."""
    offsets, _ = histories()
    packed = windows(tokenizer, max_history=6)
    spans, _ = packed.spans(packed.ends)
    begins = {int(begin) for begin, end in pairwise(offsets) if begin < end}
    cut = [row for row in range(len(spans)) if int(spans.first[row]) not in begins]
    assert len(cut) > 10
    for row in cut:
        assert spans.end[row] - spans.first[row] == 7
        assert spans.taught[row] - spans.first[row] >= 3
    assert all(spans.taught[row] == spans.first[row] for row in range(len(spans)) if row not in cut)


def test_one_prefix_per_user_is_the_sample_of_the_other_family(tokenizer: Any) -> None:
    """An ablation of `prefixes` compares like with like: the same targets, each from its whole prompt."""
    offsets, items = histories()
    pieces, packed = pieces_of(tokenizer), windows(tokenizer, max_history=6)
    slow = Samples(Ragged(offsets, items), TOKEN_IDS, pieces, end_token=END, max_history=6)
    drawn: list[int] = []
    for rows in packed.epoch(seed=1, number=0, batch_size=7, prefixes="one"):
        batch = packed.collate(rows)
        for row, end in enumerate(rows.spans.end):
            count = int((batch.labels[row] != IGNORED).sum())
            length = int(batch.attention_mask[row].sum()) - (count - 1)
            _, total = slow._plan(np.array([end - 1]), rows.templates[row : row + 1])
            assert length == int(total[0])
            assert count == len(TOKEN_IDS[items[end - 1]]) + 1
            drawn.append(int(np.searchsorted(offsets, end - 1, side="right")) - 1)
    assert sorted(drawn) == [user for user, (begin, end) in enumerate(pairwise(offsets)) if end - begin > 1]


def test_one_prefix_may_be_longer_than_every_window(tokenizer: Any) -> None:
    """A drawn target can end a window that no epoch of whole histories has: it must find a padded length too."""
    items = np.array([0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 0])
    packed = Windows(
        Ragged(np.array([0, len(items)]), items), [(3,), *[()] * 3, (3,) * 40], pieces_of(tokenizer), max_history=3
    )
    longest = [
        packed.collate(rows).attention_mask.sum(1).max() for rows in packed.epoch(seed=1, number=0, batch_size=9)
    ]
    drawn = [
        int(packed.collate(rows).attention_mask.sum())
        for number in range(40)
        for rows in packed.epoch(seed=1, number=number, batch_size=9, prefixes="one")
    ]
    assert max(drawn) > max(longest) + 30, "one more long item than any window of an epoch has"


def test_epochs_shapes_and_shares(tokenizer: Any) -> None:
    """A resumed run sees the killed one's batches; few shapes, as torch on a CPU slows down with many; the ranks share
    a batch without losing or doubling a row, and a rank without rows goes on."""

    def order(**arguments: int) -> list[int]:
        rows = windows(tokenizer, max_history=6).epoch(batch_size=7, **arguments)
        return [int(end) for each in rows for end in each.spans.end]

    assert order(seed=1, number=3) == order(seed=1, number=3)
    assert order(seed=1, number=3) != order(seed=1, number=4)
    assert order(seed=1, number=3) != order(seed=2, number=3)
    packed = windows(tokenizer, max_history=6)
    batches = packed.epoch(seed=1, number=0, batch_size=7)
    assert {packed.collate(rows).input_ids.shape[1] for rows in batches} <= set(packed.lengths().tolist())
    assert sum(len(rows) < 7 for rows in batches) <= 1
    shares = [batches[0].share(rank, 3) for rank in range(3)]
    assert sorted(int(end) for share in shares for end in share.spans.end) == sorted(batches[0].spans.end.tolist())
    nothing = batches[0].take(slice(1), batches[0].length).share(2, 3)
    assert (len(nothing), packed.collate(nothing).target_tokens) == (0, 0)


def test_no_histories_no_batches(tokenizer: Any) -> None:
    """Users without training items are legal; there is nothing to teach then."""
    empty = Windows(Ragged.of([[], []]), TOKEN_IDS, pieces_of(tokenizer), max_history=6)
    assert list(empty.epoch(seed=1, number=0, batch_size=4)) == []

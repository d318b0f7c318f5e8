"""Batches: every sample equals the prompt built slowly; epochs depend on seed and number alone; few shapes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from components.recommender.batches.batch import IGNORED, batch_of
from components.recommender.batches.epochs import SHAPES
from components.recommender.batches.samples import Samples
from components.recommender.prompts.phrasings import Prompts, prompts_of
from components.settings.train import Family
from components.storage.ragged import Ragged

END = 1
TOKEN_IDS = [tuple(range(3, 4 + number % 5)) for number in range(12)]


def histories(users: int = 30) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    lengths = random.integers(0, 12, size=users)
    return np.concatenate([[0], np.cumsum(lengths)]), random.integers(len(TOKEN_IDS), size=int(lengths.sum()))


def samples(tokenizer: Any, family: Family = "encoder-decoder", **settings: Any) -> Samples:
    offsets, items = histories()
    pieces = prompts_of(family).tokenise(tokenizer)
    return Samples(Ragged(offsets, items), TOKEN_IDS, pieces, end_token=END, **{"max_history": 6, **settings})


@pytest.mark.parametrize("max_tokens", [14, 25, 512])
@pytest.mark.parametrize("with_users", [False, True])
@pytest.mark.parametrize("family", ["encoder-decoder", "decoder-only"])
def test_every_sample_equals_the_slow_prompt(tokenizer: Any, max_tokens: int, with_users: bool, family: Family) -> None:
    """The packed path slices one long stream; a wrong boundary would leak the target or another user's items."""
    offsets, items = histories()
    users = [(7,) * (place % 3) for place in range(int(offsets[-1]))] if with_users else None
    packed = samples(tokenizer, family, max_tokens=max_tokens, users=users)
    pieces = prompts_of(family).tokenise(tokenizer)
    for rows in packed.epoch(seed=1, number=0, batch_size=7):
        batch = packed.collate(rows)
        for row, (target, template) in enumerate(zip(rows.targets, rows.templates, strict=True)):
            user = int(np.searchsorted(offsets, target, side="right")) - 1
            before = [TOKEN_IDS[item] for item in items[offsets[user] : target]]
            words = users[target] if users else ()
            slow = pieces.build(int(template), before, max_tokens=max_tokens, max_items=6, user=words)
            length = int(batch.attention_mask[row].sum())
            assert tuple(batch.input_ids[row, :length].tolist()) == slow.token_ids
            label = [*TOKEN_IDS[items[target]], END]
            assert batch.labels[row].tolist() == label + [IGNORED] * (batch.labels.shape[1] - len(label))


def test_all_prefixes_once_and_one_per_user(tokenizer: Any) -> None:
    """A prefix lost or doubled changes what is learned; the first item of a history has nothing before it."""
    offsets, _ = histories()
    packed = samples(tokenizer)
    places = {place for begin, end in pairwise(offsets) for place in range(begin + 1, end)}
    epoch = np.concatenate([rows.targets for rows in packed.epoch(seed=1, number=0, batch_size=7)])
    assert sorted(epoch) == sorted(places)
    one = np.concatenate([rows.targets for rows in packed.epoch(seed=1, number=0, batch_size=7, prefixes="one")])
    users = np.searchsorted(offsets, one, side="right") - 1
    assert sorted(users) == [user for user, (begin, end) in enumerate(pairwise(offsets)) if end - begin > 1]


def test_epoch_is_a_function_of_seed_and_number(tokenizer: Any) -> None:
    """A resumed run must see the batches that the killed one would have seen; another epoch must not repeat them."""

    def flat(**arguments: Any) -> list[int]:
        return [int(value) for rows in samples(tokenizer).epoch(batch_size=7, **arguments) for value in rows.targets]

    assert flat(seed=1, number=3) == flat(seed=1, number=3)
    assert flat(seed=1, number=3) != flat(seed=1, number=4)
    assert flat(seed=1, number=3) != flat(seed=2, number=3)


def test_phrasings_are_drawn_anew_every_epoch(tokenizer: Any) -> None:
    """The released code fixes a sample's prompt once; then the model learns the phrasing by heart."""

    def drawn(number: int) -> dict[int, int]:
        batches = samples(tokenizer).epoch(seed=1, number=number, batch_size=7)
        return {int(t): int(p) for rows in batches for t, p in zip(rows.targets, rows.templates, strict=True)}

    first, second = drawn(0), drawn(1)
    assert sum(first[target] != second[target] for target in first) > len(first) / 2


def test_few_shapes_and_full_batches(tokenizer: Any) -> None:
    """Ever-changing shapes slow torch on CPU; half-empty batches would make the gradient noisier for some lengths."""
    packed = samples(tokenizer)
    shapes = set()
    sizes = []
    for number in range(4):
        for rows in packed.epoch(seed=1, number=number, batch_size=5):
            shapes.add(packed.collate(rows).input_ids.shape[1])
            sizes.append(len(rows.targets))
    assert shapes <= set(packed.lengths().tolist())
    assert len(packed.lengths()) <= SHAPES
    assert sum(size < 5 for size in sizes) <= 4


def test_labels_of_like_length_come_together(tokenizer: Any) -> None:
    """A label has some seven tokens, the longest of a batch ten: a third of what the decoder read was padding."""
    random = np.random.default_rng(0)
    ids = [tuple(random.integers(2, 99, size=length)) for length in 2 + random.binomial(8, 0.4, size=300)]
    offsets, items = np.arange(0, 8001, 4), random.integers(300, size=8000)
    packed = Samples(Ragged(offsets, items), ids, Prompts().tokenise(tokenizer), end_token=END, max_history=20)
    epoch = packed.epoch(seed=1, number=0, batch_size=32)
    labels = [packed.collate(rows).labels for rows in epoch]
    own = sum(int((each != IGNORED).sum()) for each in labels)
    room = sum(each.numel() for each in labels)
    assert epoch.label_room == room and 1 - own / room < 0.1
    assert {each.shape[1] for each in labels} <= set(packed.label_lengths.tolist()) and len(packed.label_lengths) <= 4
    mixed = [len(set((each != IGNORED).sum(1).tolist())) for each in labels]
    assert np.mean(mixed) > 1.3, "batches of one length each would be another lesson of when to end"


def test_shares_of_ranks_are_the_batch(tokenizer: Any) -> None:
    """Two ranks with half batches must see what one rank sees, each sample once."""
    rows = samples(tokenizer).epoch(seed=1, number=0, batch_size=7)[0]
    shares = [rows.share(rank, 3) for rank in range(3)]
    assert sorted(np.concatenate([share.targets for share in shares])) == sorted(rows.targets)
    empty = rows.take(slice(1), rows.length).share(2, 3)
    assert samples(tokenizer).collate(empty).target_tokens == 0


def test_batch_of_prompts_counts_its_targets(tokenizer: Any) -> None:
    """The count is the divisor of the loss; padding must not enter it."""
    pieces = Prompts().tokenise(tokenizer)
    prompts = [pieces.build(0, TOKEN_IDS[:count], max_tokens=99) for count in (0, 3)]
    batch = batch_of(prompts, [(3,), (4, 5, 6)], end_token=END)
    assert batch.labels.tolist() == [[3, END, IGNORED, IGNORED], [4, 5, 6, END]]
    assert batch.target_tokens == 6
    assert torch.equal(batch.attention_mask.sum(1), torch.tensor([len(prompt.token_ids) for prompt in prompts]))

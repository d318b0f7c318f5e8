"""Soft targets: at each node on the way to the item that was taken, the label is what a mixture of it and a teacher's
items says of the node's children."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from components.errors import BadInput
from components.recommender.batches.batch import IGNORED
from components.recommender.batches.samples import Samples
from components.recommender.batches.soft_targets import Teacher
from components.recommender.batches.windows import Spans, Windows
from components.recommender.loss.batch_loss import batch_loss
from components.recommender.prompts.phrasings import prompts_of
from components.recommender.trie.choices import Paths
from components.recommender.trie.trie import Trie
from components.storage.ragged import Ragged
from tests.networks.causal_models import model_over
from tests.recommender.references import END
from tests.recommender.search.decoders import make_ids

IDS = make_ids(60)
HISTORIES = Ragged.of([[3, 1, 4, 15], [9, 2], [6, 5, 35]])
WEIGHT = 0.4


def teacher_of(histories: Ragged = HISTORIES) -> Teacher:
    """Five items at each place, the one that was taken among them at every other one; none at the first place."""
    draw = np.random.default_rng(4)
    rows = [draw.choice(60, 5, replace=False).tolist() for _ in histories.values]
    for place in range(0, len(rows), 2):
        rows[place][0] = int(histories.values[place])
    rows[0] = []
    shares = [draw.dirichlet(np.ones(len(row))) if row else np.zeros(0) for row in rows]
    return Teacher(histories, Ragged.of(rows), np.concatenate(shares).astype(np.float32))


def slow_loss(hidden: Tensor, weight: Tensor, target: int, place: int, at: int, *, over_trie: bool) -> Tensor:
    """Of one label, from the definition; hidden [T, d], whose row at + step is read before token `step`."""
    teacher, whole = teacher_of(), [(*each, END) for each in IDS]
    begin, end = teacher.items.offsets[place], teacher.items.offsets[place + 1]
    items = dict(zip(teacher.items.values[begin:end].tolist(), teacher.shares[begin:end].tolist(), strict=True))
    mixture = {item: WEIGHT * share for item, share in items.items()}
    left = 1.0 - WEIGHT * sum(items.values())
    mixture[target] = mixture.get(target, 0.0) + (left if items else 1.0)
    total = hidden.new_zeros(())
    for step in range(len(whole[target])):
        way = whole[target][:step]
        under = {item: part for item, part in mixture.items() if whole[item][:step] == way and len(whole[item]) > step}
        legal = sorted({each[step] for each in whole if each[:step] == way and len(each) > step})
        tokens = legal if over_trie else list(range(len(weight)))
        logs = (weight[tokens] @ hidden[at + step]).log_softmax(0)
        for item, part in under.items():
            total = total - part / sum(under.values()) * logs[tokens.index(whole[item][step])]
    return total


@pytest.mark.parametrize("over_trie", [False, True])
@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_loss_and_gradients_are_those_of_the_mixture(
    kind: str, over_trie: bool, make_model: Any, tokenizer: Any
) -> None:
    """Prevents: a part that goes to another label, to an item beside the way, or twice."""
    model = model_over(make_model(len(tokenizer), kind=kind))
    paths = Paths.of(Trie.build(IDS, end_token=END)) if over_trie else None
    given: dict[str, Any] = {"max_history": 9, "paths": paths, "teacher": teacher_of(), "weight": WEIGHT}
    if kind == "t5":
        pieces = prompts_of("encoder-decoder").tokenise(tokenizer)
        taught: Any = Samples(HISTORIES, IDS, pieces, end_token=END, **given)
    else:
        taught = Windows(HISTORIES, IDS, prompts_of("decoder-only").tokenise(tokenizer), **given)
    (rows,) = taught.epoch(seed=1, number=0, batch_size=99)
    batch = taught.collate(rows)
    labels = None if batch.inline else batch.labels
    hidden, weight = model.hidden_states(batch.input_ids, batch.attention_mask, labels), model.output_layer.weight
    asked = [(row, [place], 0) for row, place in enumerate(rows.targets.tolist())] if kind == "t5" else windows_of(rows)
    slow = hidden.new_zeros(())
    for row, places, begin in asked:
        at = begin if begin >= 0 else int((batch.labels[row] != IGNORED).nonzero()[0])
        for place in places:
            item = int(HISTORIES.values[place])
            slow = slow + slow_loss(hidden[row], weight, item, place, at, over_trie=over_trie)
            at += len(IDS[item]) + 1
    fast = batch_loss(model, batch).total
    assert fast.item() == pytest.approx(slow.item(), rel=1e-5)
    wanted, found = (torch.autograd.grad(each, weight)[0] for each in (slow, fast))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    plain = batch_loss(model, replace(batch, soft=None)).total
    assert abs(fast.item() - plain.item()) > 0.1, "or this would show nothing"


def test_two_windows_that_meet_at_one_item_each_have_its_soft_target(make_model: Any, tokenizer: Any) -> None:
    """Prevents: a window whose first item ends the row above it, and is taught by its ID alone."""
    model = model_over(make_model(len(tokenizer), kind="llama"))
    pieces = prompts_of("decoder-only").tokenise(tokenizer)
    taught: Any = Windows(HISTORIES, IDS, pieces, max_history=9, teacher=teacher_of(), weight=WEIGHT)
    (rows,) = taught.epoch(seed=1, number=0, batch_size=99)

    def loss(times: int) -> float:
        place = np.full(times, 4)  # the first item of the second user
        spans = Spans(place, place, place + 1)
        drawn = replace(rows, templates=rows.templates[:1].repeat(times), spans=spans, wordings=rows.wordings[:times])
        return float(batch_loss(model, taught.collate(drawn)).total.detach())

    assert loss(2) == pytest.approx(2 * loss(1), rel=1e-5)


def windows_of(rows: Any) -> list[tuple[int, range, int]]:
    """Row, places that it teaches, -1: the first label says where they begin."""
    spans = zip(rows.spans.taught, rows.spans.end, strict=True)
    return [(row, range(taught, end), -1) for row, (taught, end) in enumerate(spans)]


def test_a_teacher_of_other_histories_is_refused_and_prolonged_ones_are_taught_as_before() -> None:
    """Prevents: lists that slide to the next place where a validation item comes between."""
    longer = Ragged.of([[3, 1, 4, 15, 8], [9, 2, 7], [6, 5, 35], [1, 2]])
    teacher, over = teacher_of(), teacher_of().over(longer)
    places = [0, 1, 2, 3, 5, 6, 8, 9, 10]
    assert [over.items.row(place).tolist() for place in places] == [row.tolist() for row in teacher.items]
    assert not over.items.lengths_of(np.array([4, 7, 11, 12])).any()
    with pytest.raises(BadInput):
        teacher.over(Ragged.of([[3, 1, 4, 15], [9, 3], [6, 5, 35]]))

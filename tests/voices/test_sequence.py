"""The sequence voice: what it learns, what its states may see, and a training that was stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from components.errors import BadInput, Interrupted
from components.processes.signals import Stop
from components.recommender.catalogue import Catalogue
from components.settings.voices import Sequence as Knobs
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.voices import sequence_training
from components.voices.learned import Learned
from components.voices.sequence import Sequence
from components.voices.sequence_network import SequenceNetwork, padded

ITEMS = 10
TABLE = IdTable(*(tuple(f"i{number}" for number in range(ITEMS)),) * 2, tuple((number,) for number in range(ITEMS)))
TINY = Knobs(d_model=16, d_ff=16, heads=2, dropout=0.0, epochs=30, lr=0.01, batch_size=8, max_length=6, save_minutes=0)


def ring(users: int = 24, length: int = 5) -> Ragged:
    """Everybody goes round the items by steps of one or, of even users, of three."""
    return Ragged.of(
        [[(user + step * (3 if user % 2 == 0 else 1)) % ITEMS for step in range(length)] for user in range(users)]
    )


def learned(histories: Ragged, work: Path | None = None) -> Learned:
    return Learned(Catalogue(TABLE), histories, work=work)


def scores(voice: Sequence, rows: list[list[int]]) -> np.ndarray:
    histories = Ragged.of(rows)
    return voice.scores(histories, np.full(len(histories.values), np.nan))


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_it_learns_what_follows_from_more_than_the_last_item(precision: Any) -> None:
    """Prevents labels that are shifted wrongly, and an attention that reads nothing but the newest item."""
    voice = Sequence.build(learned(ring()), replace(TINY, precision=precision))
    found = scores(voice, [[2, 3, 4], [8, 1, 4], [5, 6], [9, 2]])
    assert found.argmax(axis=1).tolist() == [5, 7, 7, 5]


@pytest.mark.parametrize("layers", [0, 2])
def test_a_state_sees_nothing_after_it(layers: int) -> None:
    """Prevents targets that are read while they are predicted, and padding that counts for something."""
    torch.manual_seed(1)
    network = SequenceNetwork(ITEMS, replace(TINY, layers=layers)).eval()
    for block in network.blocks:
        torch.nn.init.normal_(block.distance)
    tokens, lengths = padded(Ragged.of([[1, 2, 3, 4], [5], []]), 6, start_token=ITEMS)
    assert tokens.tolist() == [[10, 1, 2, 3, 4], [10, 5, 10, 10, 10], [10] * 5] and lengths.tolist() == [4, 1, 0]
    whole, other = network(tokens), network(torch.tensor([[10, 1, 2, 9, 7]]))
    assert torch.allclose(whole[0, :3], other[0, :3], atol=1e-6) and not torch.allclose(whole[0, 3], other[0, 3])
    assert torch.allclose(whole[1, 1], network(tokens[1:2, :2])[0, 1], atol=1e-6)


def test_the_newest_items_are_read() -> None:
    """Prevents a long history that is read from its oldest end, and one that needs a longer table of distances."""
    tokens, lengths = padded(Ragged.of([list(range(9)), [3, 4]]), 4, start_token=ITEMS)
    assert tokens.tolist() == [[10, 5, 6, 7, 8], [10, 3, 4, 10, 10]] and lengths.tolist() == [4, 2]
    voice = Sequence.build(learned(ring()), replace(TINY, epochs=1))
    assert np.array_equal(*scores(voice, [[0, 1, 9, 2, 3, 4, 5, 6, 7], [2, 3, 4, 5, 6, 7]]))


def test_the_loss_is_that_of_the_softmax_over_all_items() -> None:
    """Prevents an item of a history that is not taught, the first one included, and padding that is."""
    torch.manual_seed(2)
    network = SequenceNetwork(ITEMS, TINY)
    histories = Ragged.of([[1, 2, 3], [7], [4, 0]])
    before = {name: each.clone() for name, each in network.state_dict().items()}
    with torch.no_grad():
        logits = network(torch.tensor([[10, 1, 2], [10, 10, 10], [10, 4, 10]])) @ network.items.weight[:-1].T
        taken = torch.cat([logits[0], logits[1, :1], logits[2, :2]])
        expected = functional.cross_entropy(taken, torch.tensor([1, 2, 3, 7, 4, 0]), reduction="sum")
    found, count = sequence_training._step(network, torch.optim.SGD(network.parameters(), lr=0.1), histories, TINY)
    assert count == 6 and found == pytest.approx(expected.item(), rel=1e-5)
    assert not torch.equal(network.items.weight, before["items.weight"])


def arrays(voice: Sequence) -> dict[str, bytes]:
    return {name: np.ascontiguousarray(each).tobytes() for name, each in voice.arrays.items()}


@pytest.mark.parametrize("at", [1, 7])
def test_a_stopped_training_ends_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Prevents a night lost to a signal, and a second half with other batches, dropout or moments of the optimizer."""
    chosen = replace(TINY, epochs=4, dropout=0.3)
    whole = arrays(Sequence.build(learned(ring()), chosen))
    steps: list[Any] = []
    step = sequence_training._step

    def counted(*arguments: Any) -> tuple[float, int]:
        steps.append(arguments)
        if len(steps) == at:
            hears[0].signal = "SIGTERM"
        return step(*arguments)

    hears: list[Stop] = []
    monkeypatch.setattr(sequence_training, "_step", counted)
    monkeypatch.setattr(sequence_training, "Stop", lambda: hears.append(Stop()) or hears[-1])
    with pytest.raises(Interrupted, match="checkpoint is saved"):
        Sequence.build(learned(ring(), tmp_path), chosen)
    assert len(steps) == at
    assert arrays(Sequence.build(learned(ring(), tmp_path), chosen)) == whole
    assert len(steps) == 12
    assert arrays(Sequence.build(learned(ring(), tmp_path), chosen)) == whole and len(steps) == 12


def test_a_longer_training_goes_on_from_a_shorter_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents an hour for each point of a curve over epochs, and a shorter one with a longer one's weights."""
    chosen = [replace(TINY, epochs=epochs, dropout=0.3) for epochs in (2, 3)]
    short, long = (arrays(Sequence.build(learned(ring()), each)) for each in chosen)
    Sequence.build(learned(ring(), tmp_path), chosen[0])
    steps: list[Any] = []
    step = sequence_training._step
    monkeypatch.setattr(sequence_training, "_step", lambda *arguments: steps.append(1) or step(*arguments))
    assert arrays(Sequence.build(learned(ring(), tmp_path), chosen[1])) == long and len(steps) == 3
    assert arrays(Sequence.build(learned(ring(), tmp_path), chosen[0])) == short and len(steps) == 3


def test_a_checkpoint_is_of_one_training_alone(tmp_path: Path) -> None:
    """Prevents other settings, histories or seeds that go on from this training's weights."""
    chosen = replace(TINY, epochs=1)
    subjects = [learned(ring(), tmp_path), learned(ring(23), tmp_path), replace(learned(ring(), tmp_path), seed=18)]
    for number, subject in enumerate(subjects):
        Sequence.build(subject, chosen)
        assert len(list(tmp_path.iterdir())) == number + 1
    Sequence.build(subjects[0], replace(chosen, save_minutes=5.0))
    assert len(list(tmp_path.iterdir())) == 3
    Sequence.build(subjects[0], replace(chosen, dropout=0.1))
    assert len(list(tmp_path.iterdir())) == 4


def test_a_loss_that_is_no_number_is_named() -> None:
    """Prevents hours of training on weights that are not numbers, and a voice made of them."""
    with pytest.raises(BadInput, match="no longer a number"):
        Sequence.build(learned(ring()), replace(TINY, lr=1e30))

"""Vectors of item views in prompts: where they stand, what they teach, how they travel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.errors import BadInput
from components.networks import views as networks
from components.networks.families import language_model
from components.recommender import item_views
from components.recommender.batches.batch import Ends, pad_prompts
from components.recommender.batches.samples import Samples
from components.recommender.batches.training_set import TrainingSet
from components.recommender.batches.windows import Windows
from components.recommender.catalogue import Catalogue
from components.recommender.engine import Engine
from components.recommender.loss.batch_loss import batch_loss
from components.recommender.prompts.phrasings import prompts_of
from components.registry import extension
from components.settings.decoding import Decoding
from components.storage import vectors
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from tests.recommender.pairs import WORDS, save_pair

KINDS = {"t5": "encoder-decoder", "llama": "decoder-only"}
COLOURS = ("clarisonic", "mia", "sonic", "lemon")
"""Textual IDs of four items, each of which follows every box of one colour."""
BOXES = 100


def of_box() -> np.ndarray:
    """[boxes] number of the colour of each."""
    return np.random.default_rng(1).integers(0, 4, BOXES)


def shop(tokenizer: Any) -> tuple[IdTable, np.ndarray]:
    """Boxes whose IDs say nothing of their colour, then `COLOURS`; and the colour of boxes, as vectors [items, 32]."""
    others = ["brush", "soap", "black", "towel", "honey", "cream"]
    names = [" ".join(each) for each in permutations(others, 3)][:BOXES]
    words = {f"i{number:03}": name for number, name in enumerate([*names, *COLOURS])}
    random = np.random.default_rng(2)
    colour = np.zeros((BOXES + 4, 32), np.float32)
    colour[:BOXES] = random.normal(size=(4, 32))[of_box()] + random.normal(0, 0.2, (BOXES, 32))
    colour[:BOXES] /= np.linalg.norm(colour[:BOXES], axis=1, keepdims=True)
    return IdTable.from_words(tokenizer, words), colour


def sets(kind: str, tokenizer: Any, table: IdTable, rows: Sequence[Sequence[int]]) -> TrainingSet[Any]:
    pieces = prompts_of(KINDS[kind]).tokenise(tokenizer)  # type: ignore[arg-type]
    if kind == "llama":
        return Windows(Ragged.of(rows), table.token_ids, pieces, max_history=9)
    return Samples(Ragged.of(rows), table.token_ids, pieces, end_token=tokenizer.eos_token_id, max_history=9)


@pytest.mark.parametrize("kind", KINDS)
def test_training_and_decoding_add_views_in_the_same_places(
    kind: str, tokenizer: Any, make_model: Callable[..., Any]
) -> None:
    """Prevents: a vector on another item's words, and a model that decodes what it was not taught."""
    table, colour = shop(tokenizer)
    rows = [[3, 5, BOXES], [7, 2, 9, BOXES + 1], [1, BOXES + 2]]
    training = sets(kind, tokenizer, table, rows)
    pieces = prompts_of(KINDS[kind]).tokenise(tokenizer)  # type: ignore[arg-type]
    model = language_model(make_model(len(tokenizer), kind=kind), end_token=tokenizer.eos_token_id)
    plain = [batch_loss(model, training.collate(each)) for each in training.epoch(seed=1, number=0, batch_size=2)]
    networks.attach(model.module, {"colour": colour})
    for each, without in zip(training.epoch(seed=1, number=0, batch_size=2), plain, strict=True):
        batch = training.collate(each)
        assert batch.ends is not None
        for row, column, item in zip(*(part.tolist() for part in vars(batch.ends).values()), strict=True):
            own = list(table.token_ids[item]) + [tokenizer.eos_token_id] * pieces.closed
            read = batch.input_ids[row, column - len(own) + 1 : column + 1].tolist()
            assert read == own
        loss = batch_loss(model, batch, embeddings=item_views.placed(model, batch.input_ids, batch.ends))
        assert torch.allclose(loss.total, without.total)  # the layers begin at zero
    prompts = [pieces.build(0, [table.token_ids[item] for item in row], max_tokens=99) for row in rows]
    ends = Ends.of_prompts(prompts, rows, closed=pieces.closed)
    ids = pad_prompts(prompts)[0]
    torch.nn.init.normal_(networks.views_of(model.module).layers["colour"].weight)  # type: ignore[union-attr, arg-type]
    changed = (item_views.placed(model, ids, ends) - model.embed(ids)).abs().sum(-1) > 0  # type: ignore[operator]
    wanted = {(row, end - (not pieces.closed)) for row, each in enumerate(prompts) for _, end in each.spans}
    wanted -= {
        (row, prompts[row].spans[at][1] - (not pieces.closed))
        for row, each in enumerate(rows)
        for at, item in enumerate(each)
        if item >= BOXES
    }
    assert {(row, column) for row, column in changed.nonzero().tolist()} == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_the_known_answer_is_found_by_the_language_model_alone(
    kind: str, tokenizer: Any, make_model: Callable[..., Any]
) -> None:
    """After a box comes the item of its colour, which its vector alone tells; those who ask have boxes that no training
    saw. Prevents: a door that is open and through which nothing goes, and a gain that shuffled views have too."""
    table, colour = shop(tokenizer)
    known, unknown = np.arange(80), np.arange(80, BOXES)
    order = np.arange(BOXES + 4)
    order[:BOXES] = np.random.default_rng(5).permutation(BOXES)

    def found(vectors_: np.ndarray) -> float:
        torch.manual_seed(3)
        model = make_model(len(tokenizer), kind=kind).float()
        networks.attach(model, {"colour": vectors_}, dropout=0.3)
        network = language_model(model, end_token=tokenizer.eos_token_id)
        training = sets(kind, tokenizer, table, [[int(box), BOXES + int(of_box()[box])] for box in known])
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        model.train()
        for number in range(40):
            for rows in training.epoch(seed=1, number=number, batch_size=16):
                batch = training.collate(rows)
                read = item_views.placed(network, batch.input_ids, batch.ends)
                loss = batch_loss(network, batch, embeddings=read)
                optimizer.zero_grad()
                (loss.total / loss.count).backward()
                optimizer.step()
        model.eval()
        pieces = prompts_of(KINDS[kind]).tokenise(tokenizer)  # type: ignore[arg-type]
        engine = Engine(network, pieces, Catalogue(table), max_history=9, device=torch.device("cpu"))
        lists = engine.recommend([[table.item_ids[int(box)]] for box in unknown], 1, Decoding(beams=4))
        hits = [
            each[0].item_id == table.item_ids[BOXES + int(of_box()[box])]
            for box, each in zip(unknown, lists, strict=True)
        ]
        return float(np.mean(hits))

    assert found(colour) >= 0.9
    assert found(colour[order]) <= 0.6


def test_views_travel_with_the_pair(tokenizer: Any, make_model: Callable[..., Any], tmp_path: Path) -> None:
    """Prevents: a served model that has forgotten its views, or that reads them for other items."""
    random = np.random.default_rng(2)
    of_items = {"colour": random.normal(size=(len(WORDS), 3)).astype(np.float32)}

    def with_views(*arguments: Any, **settings: Any) -> Any:
        model = make_model(*arguments, **settings).float()
        networks.attach(model, of_items)
        torch.manual_seed(1)
        torch.nn.init.normal_(networks.views_of(model).layers["colour"].weight)  # type: ignore[union-attr, arg-type]
        return model

    lists = {}
    for name, make in (("with", with_views), ("without", lambda *a, **s: make_model(*a, **s).float())):
        engine = Engine.load(save_pair(tmp_path / name, make, tokenizer), device="cpu")
        lists[name] = [(each.item_id, each.score) for each in engine.recommend([["B1", "B3"]], 4, Decoding())[0]]
    assert lists["with"] != lists["without"]
    engine = Engine.load(tmp_path / "with", device="cpu")
    own = Catalogue.load(tmp_path / "with", drop_repeats=True)
    table = own.table
    turned = IdTable(table.item_ids[::-1], table.words[::-1], table.token_ids[::-1])
    other = Engine.load(tmp_path / "with", device="cpu", catalogue=Catalogue(turned))
    again = [(each.item_id, each.score) for each in other.recommend([["B1", "B3"]], 4, Decoding())[0]]
    assert [item for item, _ in again] == [item for item, _ in lists["with"]]
    assert np.allclose([score for _, score in again], [score for _, score in lists["with"]], atol=1e-5)


def test_new_items_get_vectors_beside_those_that_were_there(
    tokenizer: Any, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    """`add-items`. Prevents: a history with a new item whose picture the language model does not see, other vectors or
    layers of those that were there, and a generator that loses its own."""
    random, ids = np.random.default_rng(2), tuple(WORDS)
    model = make_model(len(tokenizer)).float()
    networks.attach(model, {"colour": random.normal(size=(len(ids), 3)).astype(np.float32)})
    torch.nn.init.normal_(networks.views_of(model).layers["colour"].weight)  # type: ignore[union-attr, arg-type]
    item_views.save({item_views.RECOMMENDER: model, item_views.GENERATOR: model}, tmp_path, ids)
    vector = np.array([1, 2, 3], np.float32)
    extension.lengthen(tmp_path / item_views.FOLDER, (*ids, "NEW", "BARE"), {"colour": {"NEW": vector}})
    before = networks.views_of(model)
    for file in (item_views.RECOMMENDER, item_views.GENERATOR):
        other = make_model(len(tokenizer)).float()
        item_views.load(other, tmp_path, (*ids, "NEW", "BARE"), file)
        found = networks.views_of(other)
        assert before is not None and found is not None
        assert torch.equal(found.of_colour[: len(ids)], before.of_colour)  # type: ignore[index]
        assert found.of_colour[len(ids) :].tolist() == [[1, 2, 3], [0, 0, 0]]  # type: ignore[index]
        assert torch.equal(found.layers["colour"].weight, before.layers["colour"].weight)  # type: ignore[arg-type]


def test_a_view_that_is_not_there_is_said(tmp_path: Path) -> None:
    vectors.save(tmp_path / "views", ["a", "b"], {"poster": np.eye(2, dtype=np.float32)})
    assert list(item_views.chosen(tmp_path / "views", ["poster"], ["b", "new"])["poster"][1]) == [0, 0]
    with pytest.raises(BadInput, match="'tone' is no view"):
        item_views.chosen(tmp_path / "views", ["tone"], ["a"])

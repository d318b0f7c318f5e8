"""Neighbours' words in training prompts: where the asked model reads them, never taught, never too many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from components.recommender.batches.batch import IGNORED
from components.recommender.batches.samples import Samples
from components.recommender.batches.soft_targets import Teacher
from components.recommender.batches.windows import Windows
from components.recommender.prompts.neighbours import Listed, NeighbourWords, mark_of, names, rows_of
from components.recommender.prompts.phrasings import prompts_of
from components.recommender.trie.choices import Paths
from components.recommender.trie.trie import Trie
from components.settings.train import Family
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.textid.words.tokenizer import decode_words, train_tokenizer

IDS = ["black soap honey", "white soap", "soap", "green towel series", "black honey", "blue brush"]
TEXTS = [*(f"{words}, of a shop" for words in IDS), *prompts_of("encoder-decoder").texts()]
TOKENIZER = train_tokenizer(TEXTS * 20, vocabulary_size=600)
TABLE = IdTable.from_words(TOKENIZER, {f"B{number}": words for number, words in enumerate(IDS)})
HISTORIES = Ragged.of([[0, 3, 1, 5, 4], [5, 0, 2], [3, 4, 0, 1], [1, 0]] * 8)
END = int(TOKENIZER.eos_token_id)  # type: ignore[arg-type]
COUNT, BLOCKS = len(IDS), 3
NEAR = [[(item + block + step) % COUNT for step in range(1, 3)] for block in range(BLOCKS) for item in range(COUNT)]
NEAR[2] = NEAR[COUNT + 3] = []
LISTED = Listed(Ragged.of(NEAR), np.arange(len(HISTORIES)) % (BLOCKS - 1), COUNT)
FAMILIES = ["encoder-decoder", "decoder-only"]


def words_of(family: Family, dropout: float = 0.0) -> NeighbourWords:
    separator = prompts_of(family).tokenise(TOKENIZER).separator
    return NeighbourWords.of(LISTED, TABLE, TOKENIZER, separator, words=2, dropout=dropout)


def training_set(family: Family, neighbours: NeighbourWords | None, **settings: Any) -> Any:
    pieces = prompts_of(family).tokenise(TOKENIZER)
    settings = {"max_history": 4, "neighbours": neighbours, **settings}
    if family == "encoder-decoder":
        return Samples(HISTORIES, TABLE.token_ids, pieces, end_token=END, **settings)
    paths = Paths.of(Trie.build(TABLE.token_ids, end_token=END))
    return Windows(HISTORIES, TABLE.token_ids, pieces, paths=paths, **settings)


def row_of(batch: Any, row: int) -> list[int]:
    return [int(token) for token in batch.input_ids[row][batch.attention_mask[row].bool()]]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_name_is_an_id_or_its_rarest_words(family: Family) -> None:
    """Prevents a neighbour that cannot be told from an item of the history, and common words in place of rare ones."""
    words, separator = words_of(family), prompts_of(family).tokenise(TOKENIZER).separator
    mark = mark_of(TOKENIZER, separator)
    assert mark != separator and not {*mark} & {token for tokens in TABLE.token_ids for token in tokens}
    called = names(TABLE, TOKENIZER, 2)
    assert decode_words(TOKENIZER, [called[0], called[1], called[3]]) == ["black honey", "white soap", "green towel"]
    for row, near in enumerate(NEAR):
        wanted = [token for item in near for token in (*mark, *called[item])]
        assert words.tokens.row(row).tolist() == ([*wanted, *separator] if near else [])
    assert [row.tolist() for row in words.answering] == [row.tolist() for row in list(words.tokens)[-COUNT:]]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("max_tokens", [512, 30])
def test_a_row_is_what_the_asked_model_reads(family: Family, max_tokens: int) -> None:
    """Prevents prompts that a model is taught in another form than it is asked in, or with another user's block; and
    one that is too long. The slow, obvious way is `Pieces.build`."""
    pieces, words = prompts_of(family).tokenise(TOKENIZER), words_of(family)
    made = training_set(family, words, max_tokens=max_tokens)
    longest, cut = max(map(len, pieces.heads)), 0
    for rows in made.epoch(seed=1, number=0, batch_size=8):
        batch = made.collate(rows)
        for row in range(len(rows)):
            if family == "decoder-only":
                first, end, limit = rows.spans.first[row], rows.spans.end[row], max_tokens - longest
                limit += len(pieces.heads[rows.templates[row]])
            else:
                first, end, limit = rows.first[row], rows.targets[row] + 1, max_tokens
            user = np.searchsorted(HISTORIES.offsets, end, side="left") - 1
            history = HISTORIES.values[HISTORIES.offsets[user] : end - 1].tolist()
            block = user % (BLOCKS - 1) * COUNT
            prompt = pieces.build(
                int(rows.templates[row]),
                [TABLE.token_ids[item] for item in history],
                max_tokens=limit,
                max_items=4,
                behind=rows_of(words.tokens, [block + item for item in history]),
            )
            assert len(prompt.spans) == end - 1 - first
            cut += len(prompt.spans) < min(4, len(history))
            whole = [*prompt.token_ids, *TABLE.token_ids[HISTORIES.values[end - 1]]]
            assert row_of(batch, row) == (whole if family == "decoder-only" else [*prompt.token_ids])
            assert len(prompt.token_ids) <= max_tokens
    assert bool(cut) == (max_tokens == 30)


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_but_ids_is_taught(family: Family) -> None:
    """Prevents neighbours among the labels or the choices over the trie, and ends that lie behind a neighbour."""
    plain, made = training_set(family, None), training_set(family, words_of(family))
    assert made._count("all") == plain._count("all")
    taught: list[list[list[int]]] = []
    for each in (plain, made):
        found = []
        for rows in each.epoch(seed=1, number=0, batch_size=8):
            batch = each.collate(rows)
            labels = batch.labels.numpy()
            for row in range(len(rows)):
                found.append(labels[row][labels[row] != IGNORED].tolist())
                if family == "decoder-only":  # what is taught stands one place further on in the row
                    at = np.flatnonzero(labels[row] != IGNORED)
                    read = np.append(batch.input_ids[row].numpy()[1:], END)
                    assert (read[at] == labels[row][at])[:-1].all()
            for row, column, item in zip(*(part.tolist() for part in vars(batch.ends).values()), strict=True):
                own = [*TABLE.token_ids[item], *([END] if family == "decoder-only" else [])]
                assert batch.input_ids[row, column + 1 - len(own) : column + 1].tolist() == own
            if batch.choices is not None:
                flat = batch.labels.flatten()
                assert flat[batch.choices.first].tolist() == (
                    batch.choices.opening[batch.choices.first_labels].tolist()
                )
                assert flat[batch.choices.later].tolist() == batch.choices.options[batch.choices.chosen].tolist()
        taught.append(sorted(found))
    assert taught[0] == taught[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_teacher_speaks_of_the_ids(family: Family) -> None:
    """Prevents soft targets that lie on a neighbour's words, where both `distil` and `neighbours` are on."""
    places = len(HISTORIES.values)
    teacher = Teacher(HISTORIES, Ragged.of([[2]] * places), np.ones(places, np.float32))
    made = training_set(family, words_of(family), teacher=teacher, weight=0.5)
    told = 0
    for rows in made.epoch(seed=1, number=0, batch_size=8):
        batch = made.collate(rows)
        loses = batch.soft.shares > 0
        assert batch.labels.flatten()[batch.soft.places[loses]].equal(batch.soft.tokens[loses])
        told += int(loses.sum())
    assert told >= sum(len(history) - 1 for history in HISTORIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_some_items_stand_without_neighbours(family: Family) -> None:
    """Prevents a model that has never read an item as a new one stands there, and a draw that an epoch repeats."""
    marks = mark_of(TOKENIZER, prompts_of(family).tokenise(TOKENIZER).separator)
    seen = {}
    for dropout in (0.0, 0.5):
        made = training_set(family, words_of(family, dropout))
        for number in range(2):
            batches = [made.collate(rows) for rows in made.epoch(seed=1, number=number, batch_size=8)]
            again = [made.collate(rows) for rows in made.epoch(seed=1, number=number, batch_size=8)]
            assert all(a.input_ids.equal(b.input_ids) for a, b in zip(batches, again, strict=True))
            items = sum(len(batch.ends.items) for batch in batches)
            read = sum(int((batch.input_ids[:, :-1] == marks[0]).sum()) for batch in batches)
            seen[dropout, number] = read / items
    assert seen[0.5, 0] != seen[0.5, 1]
    for number in range(2):
        assert 0.35 < seen[0.5, number] / seen[0.0, number] < 0.7


def test_a_user_without_a_training_history_reads_a_block() -> None:
    """Prevents an index beyond the users, where histories are prolonged by validation items (`refit`)."""
    words = words_of("decoder-only")
    assert words.kinds(np.array([0, 1, len(HISTORIES), len(HISTORIES) + 9])).tolist() == [0, COUNT, 0, 0]

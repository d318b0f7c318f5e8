"""The trie: what can be decoded is exactly the set of IDs, whatever their shape."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.errors import BadInput
from components.recommender.trie import arrays
from components.recommender.trie.trie import ROOT, Trie

END = 1


def decodable(trie: Trie) -> dict[tuple[int, ...], int]:
    """Every sequence that can be written, and its item: walks the arrays as the decoder does."""
    tokens, children = trie.vocabulary[trie.columns.long()].tolist(), trie.children.tolist()
    found, open_nodes = {}, [(ROOT, ())]
    while open_nodes:
        node, path = open_nodes.pop()
        if children[node] == children[node + 1]:
            assert path[-1] == END
            found[path[:-1]] = int(trie.lowest[node])
        for child in range(children[node], children[node + 1]):
            open_nodes.append((child, (*path, tokens[child])))
    return found


tokens = st.integers(min_value=2, max_value=5) | st.integers(min_value=2, max_value=200_000)
id_sets = st.lists(st.lists(tokens, min_size=1, max_size=9).map(tuple), min_size=1, max_size=40, unique=True)


@pytest.fixture(autouse=True, params=[1 << 17, 8], ids=["one piece", "many pieces"])
def pieces(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test also with pieces of a row or two, so that nodes are begun in one piece and go on in the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "_PIECE_CELLS", request.param)
        yield


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(id_sets)
def test_decodable_is_exactly_the_set_of_ids(ids: list[tuple[int, ...]]) -> None:
    """Two projects shipped a bigram table instead of a trie: with shared middles it writes IDs that do not exist."""
    assert decodable(Trie.build(ids, end_token=END)) == {sequence: item for item, sequence in enumerate(ids)}


@pytest.mark.parametrize(
    "ids",
    [
        [(7,)],
        [(7, 8, 9), (6, 8, 5)],
        [(7,), (7, 8), (7, 8, 9)],
        [tuple(range(2, 300)), tuple(range(2, 299))],
        [(5, 5, 5), (5, 5), (5,)],
    ],
    ids=["one item", "shared middle", "prefixes", "long chains", "repeated token"],
)
def test_known_shapes(ids: list[tuple[int, ...]]) -> None:
    """The shapes where tries go wrong, each always run."""
    assert decodable(Trie.build(ids, end_token=END)) == {sequence: item for item, sequence in enumerate(ids)}


def test_ids_that_differ_at_their_very_end() -> None:
    """Prevents a sort that stops after so many tokens as one key holds: equal IDs apart, and nodes twice."""
    tails = list(itertools.product(range(60, 64), repeat=3))
    ids = [(*range(2, 60), *tails[place]) for place in np.random.default_rng(3).permutation(len(tails))]
    trie = Trie.build(ids, end_token=END)
    assert decodable(trie) == {sequence: item for item, sequence in enumerate(ids)}
    assert trie.nodes == 1 + 58 + 4 + 16 + 64 + 64  # the root, what all share, the tails, the ends
    with pytest.raises(BadInput, match="same ID"):
        Trie.build([*ids, ids[0]], end_token=END)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(id_sets)
def test_counts_parents_and_ends_agree_with_a_dict(ids: list[tuple[int, ...]]) -> None:
    """`below` decides when a user has seen a whole branch, `lowest` breaks ties, `ends` and `parents` mask items."""
    trie = Trie.build(ids, end_token=END)
    for item, sequence in enumerate(ids):
        node = int(trie.ends[item])
        for length in range(len(sequence) + 1, -1, -1):
            prefix = (*sequence, END)[:length]
            under = [other for other, whole in enumerate(ids) if (*whole, END)[:length] == prefix]
            assert (int(trie.below[node]), int(trie.lowest[node])) == (len(under), min(under))
            assert trie.levels[length] <= node < trie.levels[length + 1]
            node = int(trie.parents[node])
        assert int(trie.lengths[item]) == len(sequence) + 1
        written = trie.vocabulary[trie.ids[item].long()].tolist()
        assert written == [*sequence, *[END] * (trie.depth - len(sequence))]


def test_independent_of_the_order_of_items() -> None:
    """The same table in another row order must give the same nodes, or results would depend on it."""
    random = np.random.default_rng(3)
    ids = sorted({tuple(random.integers(2, 9, size=random.integers(1, 6)).tolist()) for _ in range(200)})
    order = random.permutation(len(ids))
    straight, shuffled = Trie.build(ids, end_token=END), Trie.build([ids[i] for i in order], end_token=END)
    assert straight.children.equal(shuffled.children) and straight.columns.equal(shuffled.columns)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "no IDs"),
        ([(5,), ()], "number 1 is empty"),
        ([(5,), (5, 1)], "number 1 holds the end token"),
        ([(5,), (-3,)], "number 1 holds no token: -3"),
        ([(5,), (2**31 - 1,)], "number 1 holds no token"),
        ([(5, 6), (7,), (5, 6)], "number 2 has the same"),
    ],
)
def test_bad_tables_are_refused(ids: list[tuple[int, ...]], message: str) -> None:
    """Each would make an item that cannot be told from another, or a node without an end."""
    with pytest.raises(BadInput, match=message):
        Trie.build(ids, end_token=END)


def test_saved_and_loaded(tmp_path: Path) -> None:
    """A trie that changes on disk would let other IDs out."""
    trie = Trie.build([(7, 8, 9), (6, 8, 5), (7,)], end_token=END)
    trie.save(tmp_path / "trie.safetensors")
    again = Trie.load(tmp_path / "trie.safetensors")
    assert decodable(again) == decodable(trie)
    assert (again.levels, again.end_column) == (trie.levels, trie.end_column)


def test_a_full_disk_leaves_the_trie_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents half a trie beside a whole table, from which no shop can be answered."""

    def fill_the_disk(_arrays: Any, path: Path, **_: Any) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    path = tmp_path / "trie.safetensors"
    Trie.build([(7,)], end_token=END).save(path)
    monkeypatch.setattr("safetensors.torch.save_file", fill_the_disk)
    with pytest.raises(OSError, match="No space"):
        Trie.build([(8,)], end_token=END).save(path)
    assert decodable(Trie.load(path)) == {(7,): 0}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.real
def test_reference_ids_of_beauty(shared_data: Path) -> None:
    """Twelve thousand real IDs, prefixes of each other among them, come out as they went in."""
    import gzip

    with gzip.open(shared_data / "amazon-beauty" / "reference_ids.tsv.gz", "rt", encoding="utf-8") as stream:
        lines = stream.read().splitlines()
    words = sorted({line.split("\t")[1] for line in lines[1:] if line.split("\t")[1].strip()})
    numbers = {word: place + 2 for place, word in enumerate(sorted({w for text in words for w in text.split()}))}
    ids = [tuple(numbers[word] for word in text.split()) for text in words]
    assert decodable(Trie.build(ids, end_token=END)) == {sequence: item for item, sequence in enumerate(ids)}

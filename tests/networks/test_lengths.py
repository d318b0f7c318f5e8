"""Rows of like length together."""

from __future__ import annotations

import torch

from components.networks.lengths import batches_of_like_length, even_groups, in_parts


def test_groups_are_even() -> None:
    """Cut off at 32, the last of 65 users would be a group, and a thread's turn, of its own."""
    mask = (torch.arange(90) < torch.arange(1, 66)[:, None]).long()
    found = even_groups(mask, 32)
    assert [len(rows) for rows, _ in found] == [21, 22, 22]
    assert sorted(torch.cat([rows for rows, _ in found]).tolist()) == list(range(65))
    assert [width for _, width in found] == [72, 48, 24]


def test_batches_hold_texts_of_like_length() -> None:
    """Prevents a batch that is mostly padding, an item that is written twice or never, and equal lengths that change
    places."""
    lengths = [3, 40, 8, 41, 3, 9, 42, 2]
    assert batches_of_like_length(lengths, 3, longest_first=True) == [[6, 3, 1], [5, 2, 0], [4, 7]]
    assert batches_of_like_length(lengths, 3) == [[7, 0, 4], [2, 5, 1], [3, 6]]
    assert batches_of_like_length([], 3) == []


def test_parts_are_as_wide_as_their_longest_row() -> None:
    """Prevents tokens that are cut off, and a failure where nothing is read."""
    mask = (torch.arange(20) < torch.tensor([2, 9, 17, 20, 20])[:, None]).long()
    assert list(in_parts(mask, 2)) == [(slice(0, 2), 16), (slice(2, 4), 20), (slice(4, 5), 20)]
    assert list(in_parts(mask, 0)) == [(slice(0, 5), 20)]
    assert list(in_parts(mask[:0], 2)) == [(slice(0, 0), 20)]

"""Attention of beams over their own tokens equals the obvious way, beam by beam."""

from __future__ import annotations

import torch

from components.networks.beam_cache import BeamPaths, path_attention


def test_each_beam_attends_to_its_own_path() -> None:
    """A gathered slot of another beam, or of another user, would change every score a little and break nothing."""
    random = torch.Generator().manual_seed(4)
    users, heads, size, capacity = 2, 2, 3, 12
    keys, values = (torch.randn(users, capacity, heads * size, generator=random) for _ in range(2))
    paths, written = BeamPaths.none(users, torch.device("cpu")), {(user, 0): list[int]() for user in range(users)}
    for parents, length in (([[0, 0, 0], [0, 0, 0]], 1), ([[2, 0], [1, 1]], 1), ([[1, 0, 1], [0, 0, 1]], 2)):
        beams, start = len(parents[0]), paths.used
        paths.grow(torch.tensor(parents), length)
        fresh = [list(range(start + beam * length, start + (beam + 1) * length)) for beam in range(beams)]
        written = {(u, b): written[u, parents[u][b]] + fresh[b] for u in range(users) for b in range(beams)}
        depth = paths.depth
        bias = torch.randn(heads, length, depth, generator=random)
        bias.masked_fill_(torch.ones(depth, depth, dtype=torch.bool).triu(1)[-length:], float("-inf"))
        queries = torch.randn(users, beams * length, heads * size, generator=random)
        found = path_attention(queries, keys, values, paths.flat(capacity), bias)
        found = found.view(users, beams, length, heads, size)
        for (user, beam), slots in written.items():
            key, value = (cache[user, slots].view(depth, heads, size) for cache in (keys, values))
            query = queries.view(users, beams, length, heads, size)[user, beam]
            weights = (torch.einsum("lhd,nhd->hln", query, key) + bias).softmax(-1)
            torch.testing.assert_close(found[user, beam], torch.einsum("hln,nhd->lhd", weights, value))

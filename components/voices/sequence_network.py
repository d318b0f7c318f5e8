"""The network of the sequence voice: item vectors, causal attention with a bias for each distance, small layers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from components.settings import voices as settings
from components.storage.ragged import Ragged


class SequenceNetwork(nn.Module):
    """Tokens [n, length] to hidden states [n, length, d]; the scores after a token are its state @ items.T."""

    def __init__(self, items: int, chosen: settings.Sequence) -> None:
        super().__init__()
        self.items = nn.Embedding(items + 1, chosen.d_model)
        """A vector an item, and the last one for the beginning of a history."""
        nn.init.normal_(self.items.weight, std=chosen.d_model**-0.5)
        self.blocks = nn.ModuleList(_Block(chosen) for _ in range(chosen.layers))
        self.norm = nn.LayerNorm(chosen.d_model)
        self.dropout = nn.Dropout(chosen.dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        states = self.dropout(self.items(tokens) * self.items.embedding_dim**0.5)
        for block in self.blocks:
            states = block(states)
        hidden: Tensor = self.norm(states)
        return hidden


class _Block(nn.Module):
    """Attention over what came before, then a small layer; each is normed before and added after (pre-norm)."""

    def __init__(self, chosen: settings.Sequence) -> None:
        super().__init__()
        width, self.heads = chosen.d_model, chosen.heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.read, self.write = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, chosen.d_ff), nn.Linear(chosen.d_ff, width)
        self.distance = nn.Parameter(torch.zeros(chosen.heads, chosen.max_length + 1))
        """[heads, distance back] added to the attention: histories of any length are read alike from their end."""
        self.dropout = nn.Dropout(chosen.dropout)

    def forward(self, states: Tensor) -> Tensor:
        n, length, width = states.shape
        parts = self.read(self.before(states)).view(n, length, 3, self.heads, width // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        places = torch.arange(length, device=states.device)
        back = places[:, None] - places[None, :]
        bias = self.distance[:, back.clamp(min=0)].masked_fill(back < 0, -torch.inf)
        rate = self.dropout.p if self.training else 0.0
        seen = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=bias, dropout_p=rate)
        states = states + self.dropout(self.write(seen.transpose(1, 2).reshape(n, length, width)))
        inner = self.dropout(functional.relu(self.wide(self.between(states))))
        return states + self.dropout(self.narrow(inner))


def padded(histories: Ragged, longest: int, *, start_token: int) -> tuple[Tensor, Tensor]:
    """Tokens [n, at most longest + 1]: `start_token`, then the newest `longest` items, then padding (which no state
    before it sees); and lengths [n], where the last item stands."""
    lengths = np.minimum(histories.lengths, longest)
    tokens = np.full((len(histories), int(lengths.max(initial=0)) + 1), start_token, np.int64)
    columns = np.arange(tokens.shape[1] - 1)[None, :]
    rows, places = np.nonzero(columns < lengths[:, None])
    tokens[rows, places + 1] = histories.values[(histories.offsets[1:] - lengths)[rows] + places]
    return torch.from_numpy(tokens), torch.from_numpy(lengths)

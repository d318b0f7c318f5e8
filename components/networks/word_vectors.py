"""Static word vectors that were pretrained elsewhere, and token embeddings that start from them.

    words = StaticVectors.load("wordllama")                    # the package of the extra `words`, or a folder
    started = words.started(tokenizer, width=128, seed=17)
    started.put(model)                                         # in place

A folder holds tokenizer.json and one matrix of token vectors as safetensors.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from components.errors import BadInput, first_line

PACKAGE = "wordllama"
_WHERE = "train.word_vectors"
STARTED = "word_vectors.safetensors"
"""Token embeddings as `Started.save` writes them."""
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_MEND = (
    "pip install -c constraints.txt 'idiom[words]' for wordllama; or name a folder with tokenizer.json and one matrix "
    "of token vectors as safetensors"
)


def files_of(name: str, *, workspace: Path = Path(), where: str = _WHERE) -> tuple[Path, Path]:
    """The tokenizer and the matrix of the package, or of a folder in `workspace`; `BadInput` without them."""
    found: tuple[list[Path], list[Path]]
    if name == PACKAGE:
        spec = find_spec(PACKAGE)
        folders = [Path(each) for each in (spec.submodule_search_locations or ())] if spec else []
        found = (
            [file for folder in folders for file in sorted(folder.glob("tokenizers/*.json"))],
            [file for folder in folders for file in sorted(folder.glob("weights/*.safetensors"))],
        )
    else:
        found = sorted((workspace / name).glob("tokenizer.json")), sorted((workspace / name).glob("*.safetensors"))
    if [len(each) for each in found] != [1, 1]:
        what = "is not installed" if name == PACKAGE else "is no folder of static word vectors"
        raise BadInput(f"{name} {what}", where=where, mend=_MEND)
    return found[0][0], found[1][0]


@dataclass(frozen=True)
class StaticVectors:
    """A vector for each token of a tokenizer."""

    tokenizer: Tokenizer
    rows: NDArray[np.float32]
    """[its tokens, numbers]."""

    @classmethod
    def load(cls, name: str, *, where: str = _WHERE) -> Self:
        """From a package or a folder (`files_of`). Raises `BadInput` where they are missing or something else."""
        vocabulary, matrix = files_of(name, where=where)
        try:
            with safe_open(matrix, "np") as stored:
                (only,) = stored.keys()
                rows = stored.get_tensor(only).astype(np.float32)
            tokenizer = Tokenizer.from_file(str(vocabulary))
            tokenizer.no_padding()
            tokenizer.no_truncation()
            if rows.ndim != 2 or tokenizer.get_vocab_size() > len(rows):
                raise ValueError(f"{tokenizer.get_vocab_size()} tokens, and vectors of shape {rows.shape}")
        except (SafetensorError, ValueError, OSError) as error:
            raise BadInput(f"{name} holds no word vectors: {first_line(error)}", where=where, mend=_MEND) from error
        except Exception as error:  # tokenizers raises nothing narrower
            raise BadInput(f"{vocabulary} is no tokenizer: {first_line(error)}", where=where, mend=_MEND) from error
        return cls(tokenizer, rows)

    def started(self, tokenizer: PreTrainedTokenizerBase, *, width: int, seed: int) -> Started:
        """Embeddings for the pieces of another tokenizer, one with "▁" before words.

        A piece has the vector of the same piece here or, without one, the mean of those that spell its text. Less their
        mean, these are turned onto their principal components, as many as fit, and by a rotation that `seed` draws, so
        that all numbers of an embedding vary alike. Special tokens, bytes and what this tokenizer cannot spell have
        none.
        """
        pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        special = set(tokenizer.all_special_tokens)
        spelt = [[] if piece in special or _BYTE.fullmatch(piece) else self._spelt(piece) for piece in pieces]
        found = np.array([bool(tokens) for tokens in spelt], bool)
        rows = np.zeros((len(pieces), width), np.float32)
        if found.any():
            means = np.stack([self.rows[tokens].mean(axis=0, dtype=np.float64) for tokens in spelt if tokens])
            rows[found] = _turned(means, width, seed)
        return Started(rows, found)

    def _spelt(self, piece: str) -> list[int]:
        same = self.tokenizer.token_to_id(piece)
        if same is not None:
            return [same]
        text = piece.replace("▁", " ").strip()
        encoded = self.tokenizer.encode(text, add_special_tokens=False) if text else None
        if encoded is None:
            return []
        unknown = getattr(self.tokenizer.model, "unk_token", None)
        parts = zip(encoded.ids, encoded.tokens, strict=True)
        return [
            number for number, token in parts if token != unknown and token.strip("▁") and not _BYTE.fullmatch(token)
        ]


def _turned(rows: NDArray[np.float64], width: int, seed: int) -> NDArray[np.float32]:
    """[n, any width] -> [n, width], the length of each row being the root of `width`, as of rows with deviation 1."""
    centred = rows - rows.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :width]
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1.0, 1.0)
    drawn = np.random.default_rng(seed).standard_normal((width, axes.shape[1]))
    turned = centred @ axes @ np.linalg.qr(drawn)[0].T
    lengths = np.linalg.norm(turned, axis=1, keepdims=True)
    scaled = turned * (width**0.5 / np.maximum(lengths, 1e-12))
    return np.asarray(scaled, np.float32)


@dataclass(frozen=True)
class Said:
    """What is told of the start of token embeddings."""

    name: str
    sha256: str
    """Of the file of vectors."""
    tokens: int
    found: int
    """Tokens that have a vector; the others start as they are drawn."""

    def __str__(self) -> str:
        return f"{self.found:,} of {self.tokens:,} token embeddings start from the word vectors of {self.name}"


@dataclass(frozen=True)
class Started:
    """Token embeddings with deviation 1, and which tokens have one."""

    rows: NDArray[np.float32]
    """[tokens, width]; zeros for a token without."""
    found: NDArray[np.bool_]
    """[tokens]."""

    @torch.no_grad()
    def put(self, model: Any) -> None:
        """Replace the embeddings of a new model where there is a vector, with the deviation that they have; output rows
        that are tied to them follow."""
        weight = model.get_input_embeddings().weight
        which = torch.from_numpy(np.flatnonzero(self.found))
        if len(which):
            weight[which] = torch.from_numpy(self.rows[self.found]).to(weight) * weight[which].std()

    def save(self, folder: Path, said: Said) -> None:
        """Write into `folder`, as `read` and `read_said` read it."""
        arrays: dict[str, NDArray[Any]] = {"rows": self.rows, "found": self.found.astype(np.uint8)}
        save_file(arrays, folder / STARTED, metadata={"said": json.dumps(asdict(said), sort_keys=True)})


def read(folder: Path) -> Started | None:
    """What `Started.save` wrote into a folder; None where it did not."""
    if not (folder / STARTED).is_file():
        return None
    with safe_open(folder / STARTED, "np") as stored:
        return Started(stored.get_tensor("rows"), stored.get_tensor("found").astype(bool))


def read_said(folder: Path) -> Said | None:
    """What is told of it."""
    if not (folder / STARTED).is_file():
        return None
    with safe_open(folder / STARTED, "np") as stored:
        return Said(**json.loads(stored.metadata()["said"]))

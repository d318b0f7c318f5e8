"""Item texts to vectors: by a pretrained encoder, by static vectors of tokens, or by a trained pair's own generator.

    views = encoded(texts, {"minilm": "models/minilm", "own": "artifacts/demo/train/pair"}, dims=128)

Each is the mean of the last hidden states over the tokens of a text (of the encoder, where there is a decoder too), or
of the tokens' rows where the checkpoint is one matrix of them beside a tokenizer.json; then whitened (Su et al.,
"Whitening Sentence Representations", 2021): principal components, each divided by its deviation. No code that comes
with a model is run. A history, a split or a count is not read.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from components.errors import BadInput, first_line
from components.networks.backbone import load_model
from components.networks.hub import locate
from components.networks.lengths import batches_of_like_length
from components.networks.tokenizer import load_tokenizer
from components.networks.word_vectors import PACKAGE, StaticVectors, files_of
from components.progress import Progress
from components.storage.vectors import Vectors
from components.textid.words.tokenizer import encode_texts
from components.views.reduce import reduced

TOKENS = 128
"""Of a text that are read; brand and name stand first."""
_AT_ONCE = 32
_STATIC = ("tokenizer.json", "vectors.safetensors")
"""Names of what a folder of static vectors of tokens holds."""
_WHERE = "params.yaml: rank.encoders"
_MEND = (
    "name a folder or hub name of a text encoder saved by save_pretrained, with safetensors and its tokenizer, or a "
    "folder with tokenizer.json and one matrix of token vectors as safetensors, `wordllama` (pip install -c "
    "constraints.txt 'idiom[words]'), or `generator`"
)

Encode = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""Tokens and mask, [texts, S] each -> [texts, width]."""


def encoded(
    texts: Sequence[str | None],
    encoders: Mapping[str, str | Path],
    *,
    dims: int,
    taken: Collection[str] = (),
    progress: Progress | None = None,
) -> dict[str, Vectors]:
    """Name -> [texts, at most dims] of length 1; 0 where there is no text. `encoders`: name -> a folder, a hub name or
    `wordllama`.

    Raises `BadInput` for what is no text encoder, and for a name that is `taken`.
    """
    if both := sorted(encoders.keys() & taken):
        raise BadInput(f"there is a view {both[0]!r} already", where=_WHERE, mend="give the encoder another name")
    present = np.array([bool(text) for text in texts], bool)
    said = [text or "" for text in texts]
    found: dict[str, Vectors] = {}
    for name, where in encoders.items():
        try:
            tokens, encode = _loaded(said, where)
        except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
            raise BadInput(f"{name} is no text encoder: {first_line(error)}", where=_WHERE, mend=_MEND) from error
        raw = _raw(tokens, encode, (progress or Progress()), f"encode texts, {name}")
        found[name] = reduced(raw, present & raw.any(axis=1), dims, standardised=False, whitened=True)
    return found


def copied(encoder: str | Path, to: Path) -> None:
    """The files of an encoder in a folder that `encoded` takes. Raises `BadInput` where they are missing."""
    if str(encoder) == PACKAGE:
        to.mkdir()
        for file, name in zip(files_of(PACKAGE, where=_WHERE), _STATIC, strict=True):
            shutil.copyfile(file, to / name)
    else:
        shutil.copytree(_folder(encoder), to)


def _folder(where: str | Path) -> Path:
    try:
        return locate(str(where))
    except BadInput as error:
        raise BadInput(error.what, where=_WHERE, mend=_MEND) from error


def _loaded(texts: Sequence[str], where: str | Path) -> tuple[list[list[int]], Encode]:
    """The tokens of each text, and what reads them."""
    if str(where) == PACKAGE:
        return _static(texts, PACKAGE)
    folder = _folder(where)
    if (folder / "generator").is_dir():  # a trained pair
        tokens = encode_texts(load_tokenizer(folder / "tokenizer"), texts, max_tokens=TOKENS)
        return tokens, _network(load_model(folder / "generator"))
    if not (folder / "config.json").is_file() and (folder / "tokenizer.json").is_file():
        return _static(texts, str(folder.resolve()))
    from transformers import AutoModel

    tokenizer: Any = load_tokenizer(folder)
    model = AutoModel.from_pretrained(folder, local_files_only=True, trust_remote_code=False, use_safetensors=True)
    return tokenizer(list(texts), truncation=True, max_length=TOKENS)["input_ids"], _network(model)


def _network(model: Any) -> Encode:
    encoder = (model.get_encoder() if model.config.is_encoder_decoder else model).eval()

    @torch.inference_mode()
    def encode(tokens: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        seen = torch.from_numpy(mask)
        states = encoder(input_ids=torch.from_numpy(tokens), attention_mask=seen).last_hidden_state.float()
        means = (states * seen[..., None]).sum(1) / seen.sum(1, keepdim=True).clamp(min=1)
        return np.asarray(means.numpy(), np.float32)

    return encode


def _static(texts: Sequence[str], name: str) -> tuple[list[list[int]], Encode]:
    vectors = StaticVectors.load(name, where=_WHERE)
    rows = vectors.rows
    vectors.tokenizer.enable_truncation(TOKENS)
    tokens = [each.ids for each in vectors.tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def encode(tokens: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        total = (rows[tokens] * mask[..., None]).sum(axis=1)
        return np.asarray(total / np.maximum(mask.sum(axis=1, keepdims=True), 1), np.float32)

    return tokens, encode


def _raw(tokens: Sequence[Sequence[int]], encode: Encode, progress: Progress, task: str) -> NDArray[np.float32]:
    """[texts, width], read in batches of like length."""
    found: NDArray[np.float32] | None = None
    for rows in progress.track(batches_of_like_length([len(row) for row in tokens], _AT_ONCE), task):
        width = max(1, *(len(tokens[row]) for row in rows))
        ids = np.zeros((len(rows), width), np.int64)
        mask = np.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : len(tokens[row])], mask[place, : len(tokens[row])] = tokens[row], 1
        part = encode(ids, mask)
        if found is None:
            found = np.zeros((len(tokens), part.shape[1]), np.float32)
        found[rows] = part
    return np.zeros((len(tokens), 1), np.float32) if found is None else found

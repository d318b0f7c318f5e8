"""Trim a vocabulary to the tokens that a catalogue uses; the cost of the output layer is proportional to its size.

    tokenizer, kept = trim_tokenizer(tokenizer, texts)      # kept[new id] = old id
    trim_model(model, kept)                                 # the same rows of embeddings and output layer, in place

Texts of the catalogue are cut into the same pieces as before, since none of these is removed; new texts are still
spelt, in more pieces, as all single characters stay. Unigram (T5, mT5, scratch) and BPE (BART,
GPT-2, Llama, Qwen) can be trimmed. The results are an ordinary checkpoint and tokenizer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from components.errors import BadInput
from components.textid.words.normal import normalise
from components.textid.words.tokenizer import WORDS_ONLY, cuts_by_word, encode_texts, encode_words

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_SETTINGS = ("model_max_length", "clean_up_tokenization_spaces", "split_special_tokens", "padding_side", WORDS_ONLY)
_TEXTS = 4096
"""Texts that are tokenised at a time."""


def trim_tokenizer(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, keep: Iterable[int] = ()
) -> tuple[PreTrainedTokenizerBase, list[int]] | None:
    """A tokenizer with the tokens that `texts` and their words need, and the old id of each, rising.

    Special tokens, single characters, bytes and `keep` stay as well. None for a kind that cannot be trimmed.
    """
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        return None
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    model = state["model"]
    if model["type"] not in ("Unigram", "BPE") or model.get("end_of_word_suffix") or not _known(state):
        return None
    vocabulary = _vocabulary(model)
    added = {token["id"] for token in state["added_tokens"]}
    needed = _used(tokenizer, texts) | added | set(keep) & (added | set(vocabulary.values()))
    needed |= {number for piece, number in vocabulary.items() if len(piece) == 1 or _BYTE.fullmatch(piece)}
    # Where a character is no piece of its own, the longer pieces with it are the only way to write it.
    single = {piece for piece in vocabulary if len(piece) == 1}
    needed |= {number for piece, number in vocabulary.items() if not single.issuperset(piece)}
    if model["type"] == "Unigram":
        # The cost of an unknown character is counted from the lowest score.
        needed |= {model["unk_id"], min(range(len(model["vocab"])), key=lambda number: model["vocab"][number][1])}
    else:
        needed |= {vocabulary[model["unk_token"]]} if model.get("unk_token") else set()
        needed = _closed(needed, vocabulary, model["merges"])
    kept = sorted(number for number in needed if number is not None)
    return _rebuilt(tokenizer, state, kept), kept


def trim_model(model: Any, kept: Sequence[int]) -> None:
    """Keep the rows `kept` of the embeddings and of the output layer of a Hugging Face model, in place.

    Its logits over them do not change. Raises `BadInput` where its configuration names a token that is not kept.
    """
    rows, new = torch.tensor(kept), {old: number for number, old in enumerate(kept)}
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    layers = [layer for layer in (embeddings, head) if layer is not None]
    weights = [layer.weight.detach()[rows].clone() for layer in layers]
    bias = None if head is None or getattr(head, "bias", None) is None else head.bias.detach()[rows].clone()
    # BART adds one to its logits that is no weight of the layer.
    final = model.final_logits_bias[:, rows].clone() if hasattr(model, "final_logits_bias") else None
    for config in (model.config, model.generation_config):
        if config is not None:
            _renumber(config, new)
    model.resize_token_embeddings(len(kept), mean_resizing=False)
    with torch.no_grad():
        for layer, weight in zip((model.get_input_embeddings(), model.get_output_embeddings()), weights, strict=False):
            layer.weight.copy_(weight)
        if bias is not None:
            model.get_output_embeddings().bias.copy_(bias)
        if final is not None:
            model.final_logits_bias.copy_(final)


def named_tokens(config: Any) -> set[int]:
    """Token ids that a configuration names (padding, end, start of the decoder, ...)."""
    found = (getattr(config, name) for name in _names(config))
    return {number for value in found for number in (value if isinstance(value, list) else [value])}


def _used(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> set[int]:
    """Tokens of the texts as they are read, of their words as an ID has them, and of each word as the first of one."""
    found: set[int] = set()
    words: set[str] = set()
    for start in range(0, len(texts), _TEXTS):
        some = list(texts[start : start + _TEXTS])
        plain = [normalise(text) for text in some]
        rows = encode_words(tokenizer, plain)
        if not cuts_by_word(tokenizer):  # ours reads nothing else, and cuts a word alike wherever it is
            rows += [tuple(row) for row in encode_texts(tokenizer, some, max_tokens=1 << 30)]
            words.update(word for text in plain for word in text.split())
        found.update(token for row in rows for token in row)
    found.update(token for row in encode_words(tokenizer, sorted(words)) for token in row)
    return found


def _vocabulary(model: dict[str, Any]) -> dict[str, int]:
    if model["type"] == "BPE":
        return dict(model["vocab"])
    return {piece: number for number, (piece, _) in enumerate(model["vocab"])}


def _closed(needed: set[int], vocabulary: dict[str, int], merges: list[Any]) -> set[int]:
    """`needed` with every token that a merge on the way to one of them begins with.

    A merge that was never made while the catalogue was cut can go without changing any cut, as it never won.
    """
    made: dict[int, list[int]] = {}
    for left, right in map(_pair, merges):
        made.setdefault(vocabulary[left + right], []).extend((vocabulary[left], vocabulary[right]))
    found, open_ = set(needed), list(needed)
    while open_:
        for part in made.get(open_.pop(), ()):
            if part not in found:
                found.add(part)
                open_.append(part)
    return found


def _pair(merge: Any) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _rebuilt(tokenizer: PreTrainedTokenizerFast, state: dict[str, Any], kept: list[int]) -> PreTrainedTokenizerFast:
    """The tokenizer with the tokens `kept`, renumbered in their order."""
    new, model = {old: number for number, old in enumerate(kept)}, state["model"]
    if model["type"] == "Unigram":
        model["unk_id"] = new[model["unk_id"]]
        model["vocab"] = [piece for number, piece in enumerate(model["vocab"]) if number in new]
    else:
        model["vocab"] = {piece: new[number] for piece, number in model["vocab"].items() if number in new}
        pieces = model["vocab"]
        model["merges"] = [
            merge for merge in model["merges"] if {*_pair(merge), "".join(_pair(merge))} <= pieces.keys()
        ]
    for token in state["added_tokens"]:
        token["id"] = new[token["id"]]
    for part in _processors(state):
        for token in part.get("special_tokens", {}).values():
            token["ids"] = [new[number] for number in token["ids"]]
        for name in ("sep", "cls"):
            if name in part:
                part[name] = [part[name][0], new[part[name][1]]]
    settings = {name: tokenizer.init_kwargs[name] for name in _SETTINGS if name in tokenizer.init_kwargs}
    backend = Tokenizer.from_str(json.dumps(state))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **{**settings, **tokenizer.special_tokens_map})


def _processors(state: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of the post-processor, which holds token ids."""
    whole = state["post_processor"]
    return [] if whole is None else whole.get("processors", [whole])


def _known(state: dict[str, Any]) -> bool:
    kinds = {"TemplateProcessing", "ByteLevel", "BertProcessing", "RobertaProcessing"}
    return all(part["type"] in kinds for part in _processors(state))


def _names(config: Any) -> list[str]:
    return [name for name in vars(config) if name.endswith("_token_id") and getattr(config, name) is not None]


def _renumber(config: Any, new: dict[int, int]) -> None:
    """Token ids of a configuration -> the new ones."""
    if missing := named_tokens(config) - new.keys():
        raise BadInput(
            f"the checkpoint names tokens {sorted(missing)} that its tokenizer does not have",
            where="train.backbone, train.generator_backbone",
            mend="set train.trim_vocabulary to false",
        )
    for name in _names(config):
        value = getattr(config, name)
        setattr(config, name, [new[number] for number in value] if isinstance(value, list) else new[value])

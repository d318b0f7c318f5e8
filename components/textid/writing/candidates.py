"""From the tokens that a generator wrote to candidates that a person can read and the ID table can hold."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence, Set

import torch
from tokenizers import decoders
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from components.textid.table.taken import TakenIds
from components.textid.words.tokenizer import decode_words

# What reads badly costs in the score, which is a mean log-probability per token (nats).
_FOREIGN = 0.5  # x share of the words that the item's own text does not hold
_DROPPED = 1.0  # x share of the words that are dropped: said before ("black black soap"), or words of no item
_NOTHING_SAID = 3.0  # an ID of numbers alone, or of words that no item has

Candidate = tuple[str, float]


def allowed_tokens(tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """bool [V]: tokens of letters, digits and their marks, with or without the sign that starts a word."""
    special = set(tokenizer.all_special_ids)
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
    if isinstance(decoder, decoders.ByteLevel):  # BART writes the two bytes of "é" as "Ã©", whose second is no letter
        pieces = [decoder.decode([piece]) for piece in pieces]
    return torch.tensor([row not in special and _is_word_piece(piece) for row, piece in enumerate(pieces)])


def readable(
    tokens: Sequence[Sequence[Sequence[int]]],
    scores: Sequence[Sequence[float]],
    own_words: Sequence[Set[str]],
    known_words: Collection[str],
    tokenizer: PreTrainedTokenizerBase,
    taken_ids: TakenIds,
    *,
    faithful: bool,
) -> list[list[Candidate]]:
    """Candidates (words, score) of each item, best first, each once; those that the table cannot hold are left out.

    faithful: a candidate with a word that the item's own text lacks is left out. Otherwise it costs, and a word that no
    item of the catalogue has (`known_words`) is dropped where another word is left: a young generator joins pieces to
    words that do not exist ("gold fusion groding").
    tokens: [n][candidates][tokens], padding allowed at the end; scores: -inf where there is no candidate.
    """
    flat = [
        (row, sequence, score)
        for row in range(len(tokens))
        for sequence, score in zip(tokens[row], scores[row], strict=True)
        if score > float("-inf")
    ]
    said = decode_words(tokenizer, [sequence for _, sequence, _ in flat])
    kept = [_kept(words.split(), known_words) for words in said]
    usable = taken_ids.usable(kept)
    found: list[dict[str, float]] = [{} for _ in tokens]
    for (row, _, score), whole, words, good in zip(flat, said, kept, usable, strict=True):
        if good and not (faithful and set(words.split()) - own_words[row]):
            worth = score - _penalty(whole.split(), words.split(), own_words[row], known_words)
            found[row][words] = max(worth, found[row].get(words, worth))
    return [sorted(options.items(), key=lambda option: (-option[1], option[0])) for options in found]


def _kept(said: list[str], known: Collection[str]) -> str:
    words = list(dict.fromkeys(said))
    return " ".join([word for word in words if word in known] or words)


def _penalty(said: list[str], words: list[str], own: Collection[str], known: Collection[str]) -> float:
    foreign = sum(word not in own for word in words) / len(words)
    dropped = 1 - len(words) / len(said)
    nothing = not any(word in known and not word.isdigit() for word in words)
    return _FOREIGN * foreign + _DROPPED * dropped + _NOTHING_SAID * nothing


def _is_word_piece(piece: str) -> bool:
    letters = piece.replace("▁", "").strip(" ")  # the word signs of SentencePiece and of byte-level BPE
    return bool(letters) and all(unicodedata.category(character)[0] in "LNM" for character in letters)

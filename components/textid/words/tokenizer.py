"""The tokenizer of a scratch model: Unigram, trained on the catalogue's own texts, in any script.

    tokenizer = train_tokenizer(texts, vocabulary_size=4096)
    rows = encode_texts(tokenizer, texts, max_tokens=64)

A pretrained backbone brings its own; the functions below work with either.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from components.errors import BadInput
from components.textid.words.normal import normalise

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

# Ids 0, 1 and 2, as in T5.
PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
_PRINTABLE = sorted({chr(code).lower() for code in range(0x21, 0x7F)})
# The bytes that can occur in UTF-8 beyond ASCII: with them as pieces no text is ever unknown.
_BYTES = [f"<0x{byte:02X}>" for byte in (*range(0x80, 0xC0), *range(0xC2, 0xF5))]
# Scripts with thousands of characters may take this share of the vocabulary; rarer characters are spelt in bytes.
_CHARACTER_SHARE = 0.25
# Log-probability of pieces that text must not be cut into: "</s>" in a product title is five characters.
_NEVER = -1000.0

# A character of the private use area, which no normalised text of a catalogue needs; see `_corpus`.
_MARK = "\ue000"
# Key in tokenizer_config.json of a tokenizer that reads item texts as words; see `encode_texts`.
WORDS_ONLY = "item_texts_as_words"
_WORD = re.compile(r"[^\W_]+")


def train_tokenizer(texts: Sequence[str], *, vocabulary_size: int) -> PreTrainedTokenizerFast:
    """A Unigram tokenizer (Kudo, 2018) with byte fallback, of at most `vocabulary_size` tokens.

    It never has fewer tokens than it needs to spell any text (about 190), and has fewer than asked for where the
    texts do not hold so many pieces. Equal texts in any order give equal bytes.
    """
    room = max(vocabulary_size - len(_BYTES), 4 + len(_PRINTABLE))
    alphabet = _alphabet(texts, limit=int(room * _CHARACTER_SHARE))
    draft = Tokenizer(models.Unigram())
    draft.normalizer, draft.pre_tokenizer = _normalizer(), _pre_tokenizer()
    draft.train_from_iterator(
        _corpus(texts, alphabet, marked=room // 2),
        trainers.UnigramTrainer(
            vocab_size=room,
            special_tokens=[PAD, END, UNKNOWN],
            unk_token=UNKNOWN,
            initial_alphabet=_PRINTABLE,
            show_progress=False,
        ),
    )
    return _wrap(_pieces(draft))


def encode_texts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, max_tokens: int) -> list[list[int]]:
    """Token ids of each text: at most `max_tokens`, of which the last is always the end token.

    A tokenizer of ours reads words only: punctuation is a third of the tokens of an item text (Beauty: 37.5 with, 25.3
    without) and says nothing that could stand in an ID. A pretrained one gets the text as it is.
    """
    if not texts:
        return []
    read = [normalise(text) for text in texts] if cuts_by_word(tokenizer) else list(texts)
    end = end_id(tokenizer)
    return [[*row[: max_tokens - 1], end] for row in _encode(tokenizer, read)]


def cuts_by_word(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a word of an ID has the same tokens in every ID: those of ours have, as they keep words apart."""
    return bool(tokenizer.init_kwargs.get(WORDS_ONLY))


def encode_words(tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> list[tuple[int, ...]]:
    """Canonical token ids of textual IDs, without the end token."""
    if not words:
        return []
    return [tuple(row) for row in _encode(tokenizer, list(words))]


def decode_words(tokenizer: PreTrainedTokenizerBase, rows: Iterable[Sequence[int]]) -> list[str]:
    """What rows of token ids say, as words only; special tokens are left out."""
    listed = [list(row) for row in rows]
    if not listed:
        return []
    from transformers import PreTrainedTokenizerFast

    if isinstance(tokenizer, PreTrainedTokenizerFast):
        texts = tokenizer.backend_tokenizer.decode_batch(listed, skip_special_tokens=True)
    else:
        texts = tokenizer.batch_decode(listed, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return [normalise(text) for text in texts]


def _encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Token ids of texts, without special tokens and uncut.

    Past the library's own lists of masks, types and offsets for every text, which take as long as the tokens.
    """
    from transformers import PreTrainedTokenizerFast  # here, as who reads a table alone needs none of it

    how = {"add_special_tokens": False, "truncation": False}
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        return list(tokenizer(texts, **how)["input_ids"])
    tokenizer("", **how)  # sets up what lies below it: truncation, padding, how special tokens in a text are read
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return [encoding.ids for encoding in encodings]


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Id of the padding token."""
    return _special(tokenizer.pad_token_id, "padding")


def end_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Id of the end token."""
    return _special(tokenizer.eos_token_id, "end")


def _special(token_id: int | None, name: str) -> int:
    if token_id is None:
        raise BadInput(
            f"the tokenizer has no {name} token",
            where="train.backbone",
            mend="use a checkpoint whose tokenizer has one (T5, Llama, Qwen, GPT-2), or backbone: scratch",
        )
    return token_id


def _normalizer() -> normalizers.Normalizer:
    spaces = normalizers.Replace(Regex(r"[\s\p{Cc}\p{Cf}]+"), " ")
    return normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), spaces, normalizers.Strip()])


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """Words apart from each other and from punctuation: else "oz," and "title:" are learned beside "oz" and "title"."""
    words = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    return pre_tokenizers.Sequence([words, pre_tokenizers.Punctuation(behavior="isolated")])


def _alphabet(texts: Iterable[str], *, limit: int) -> frozenset[str]:
    """The most frequent characters, printable ASCII always among them; ties by code point."""
    counts: Counter[str] = Counter()
    normalizer = _normalizer()
    for text in texts:
        counts.update(normalizer.normalize_str(text))
    counts.pop(_MARK, None)
    frequent = sorted(counts, key=lambda character: (-counts[character], character))[:limit]
    return frozenset(frequent) | frozenset(_PRINTABLE) | {" "}


def _corpus(texts: Iterable[str], alphabet: frozenset[str], *, marked: int) -> list[str]:
    """`texts` without the characters outside `alphabet`, sorted, and the `marked` most frequent words with a mark.

    The trainer takes its first pieces from what repeats among *different* words, whatever their counts: "soap" in a
    thousand titles is no piece unless "soaps" or "soapy" is there as well. The marked copy makes it one. At 4,096
    tokens that shortens the item texts of Beauty from 34.2 to 27.0 tokens.
    """
    normalizer = _normalizer()
    lines = []
    for text in sorted(texts):
        line = normalizer.normalize_str(text)
        if not alphabet.issuperset(line):
            line = "".join(character if character in alphabet else " " for character in line)
        lines.append(line)
    counts = Counter(word for line in lines for word in _WORD.findall(line))
    repeated = sorted((word for word in counts if counts[word] > 1), key=lambda word: (-counts[word], word))
    return lines + [word + _MARK for word in repeated[:marked]]


def _pieces(draft: Tokenizer) -> list[tuple[str, float]]:
    """The trained pieces in a canonical order, special tokens first, the bytes of the fallback last.

    The trainer's hash maps are seeded anew in every process: its order of equal pieces differs from run to run, and
    its scores differ by up to 4e-11 (12,000 texts). Two decimals make the file the same.
    """
    special = [PAD, END, UNKNOWN]
    trained = json.loads(draft.to_str())["model"]["vocab"]
    finite = {
        piece: score for piece, score in trained if _MARK not in piece and score is not None and math.isfinite(score)
    }
    lowest = min(finite.values(), default=-10.0)
    # Characters that EM dropped come back with the lowest score + 0.0001 for each one before, in the maps' order.
    revived = lowest + 1e-4 * sum(len(piece) == 1 for piece in finite)
    floor = round(lowest, 2)
    learned = {
        piece: floor if len(piece) == 1 and score <= revived else round(score, 2) for piece, score in finite.items()
    }
    for character in ("▁", *_PRINTABLE):  # the trainer drops what it has not seen
        learned.setdefault(character, floor)
    ranked = sorted((set(learned) - set(special)), key=lambda piece: (-learned[piece], piece))
    return (
        [(piece, _NEVER) for piece in special]
        + [(piece, learned[piece]) for piece in ranked]
        + [(piece, _NEVER) for piece in _BYTES]
    )


def _wrap(pieces: list[tuple[str, float]]) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=True))
    tokenizer.normalizer, tokenizer.pre_tokenizer = _normalizer(), _pre_tokenizer()
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", pair=f"$A {END} $B {END}", special_tokens=[(END, 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
        model_max_length=int(1e9),
        split_special_tokens=True,
        **{WORDS_ONLY: True},
    )

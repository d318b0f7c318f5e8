"""Trimmed vocabularies: cuts of the catalogue and logits over kept tokens are those of the whole checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration, T5Tokenizer

from components.errors import BadInput
from components.networks.backbone import load_model, save_model
from components.networks.tokenizer import load_tokenizer, save_tokenizer
from components.textid.words.tokenizer import decode_words, encode_texts, encode_words, train_tokenizer
from components.textid.words.trim import trim_model, trim_tokenizer
from tests.networks.causal_models import make_causal
from tests.textid.conftest import tiny_bart

ELSEWHERE = [f"the {word} of {other}" for word in ("garden", "lighthouse", "kettle") for other in ("anna", "bornholm")]
CATALOGUE = ["title: Black Soap 32 oz, brand: Acorn", "title: honey cream (rich), brand: Birch", "オーガニック"]
NEW = ["Zebra crossing jukebox, 1999!", "honey lighthouse", "an unheard-of 'quiz'"]
"""Texts of items that come after the training."""


def bpe() -> PreTrainedTokenizerFast:
    """A byte-level BPE with its end token outside the merges, as GPT-2, BART and Qwen have."""
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer, bare.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    bare.train_from_iterator([*CATALOGUE, *ELSEWHERE] * 9, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bare, eos_token="<|end|>", pad_token="<|pad|>", clean_up_tokenization_spaces=False
    )


def spaced_bpe() -> PreTrainedTokenizerFast:
    """A BPE with byte fallback whose sequences begin with a special token, as Llama has."""
    bare = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    bare.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    bare.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=460, special_tokens=names, show_progress=False)
    bare.train_from_iterator([*CATALOGUE, *ELSEWHERE] * 9, trainer)
    bare.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=bare, bos_token="<s>", eos_token="</s>", pad_token="</s>", unk_token="<unk>"
    )


def t5() -> PreTrainedTokenizerFast:
    """T5's own class, its 100 sentinels among the special tokens; a few pieces that no catalogue text has."""
    pieces = [(piece, score) for piece, score in state_of(scratch())["vocab"] if not piece.startswith("<")]
    return T5Tokenizer(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces])


def scratch() -> PreTrainedTokenizerFast:
    return train_tokenizer([*CATALOGUE, *ELSEWHERE] * 9, vocabulary_size=460)


def state_of(tokenizer: Any) -> dict[str, Any]:
    """The model of a tokenizer as its file has it."""
    return dict(json.loads(tokenizer.backend_tokenizer.to_str())["model"])


KINDS = {"scratch": scratch, "t5": t5, "byte-level": bpe, "spaced": spaced_bpe}


@pytest.fixture(params=sorted(KINDS))
def whole(request: pytest.FixtureRequest) -> Any:
    return KINDS[request.param]()


def trimmed_of(tokenizer: Any) -> tuple[Any, list[int]]:
    found = trim_tokenizer(tokenizer, CATALOGUE)
    assert found is not None
    return found


def test_the_catalogue_is_cut_as_before(whole: Any) -> None:
    """Prevents a recommender that reads a pretrained checkpoint's words in other pieces than it was trained on; the
    words of an ID stand first in it or not, and each is looked at both ways."""
    trimmed, kept = trimmed_of(whole)
    assert len(trimmed) == len(kept) < len(whole) and kept == sorted(set(kept))
    words = ["black soap", "soap", "honey cream rich birch", "オーガニック", "acorn 32"]
    before = [*encode_texts(whole, CATALOGUE, max_tokens=99), *encode_words(whole, words)]
    after = [*encode_texts(trimmed, CATALOGUE, max_tokens=99), *encode_words(trimmed, words)]
    assert [[kept[token] for token in row] for row in after] == [list(row) for row in before]
    assert [kept[token] for token in trimmed(CATALOGUE[0]).input_ids] == whole(CATALOGUE[0]).input_ids
    assert decode_words(trimmed, encode_words(trimmed, words)) == decode_words(whole, encode_words(whole, words))
    names = whole.special_tokens_map
    assert trimmed.special_tokens_map == names
    assert [kept[number] for number in trimmed.convert_tokens_to_ids(trimmed.all_special_tokens)] == (
        whole.convert_tokens_to_ids(trimmed.all_special_tokens)
    )


def test_new_items_can_still_be_written(whole: Any) -> None:
    """Prevents unknown tokens in tomorrow's items where the whole vocabulary had none."""
    trimmed, _ = trimmed_of(whole)
    for text in NEW:
        assert (whole.unk_token_id in whole(text).input_ids) == (trimmed.unk_token_id in trimmed(text).input_ids)
        assert trimmed.decode(trimmed(text).input_ids, skip_special_tokens=True) == whole.decode(
            whole(text).input_ids, skip_special_tokens=True
        )


def test_a_trimmed_tokenizer_survives_its_file(whole: Any, tmp_path: Path) -> None:
    """Prevents a class of the library that builds its vocabulary anew when it is loaded: other ids, silently."""
    trimmed, _ = trimmed_of(whole)
    save_tokenizer(trimmed, tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.get_vocab() == trimmed.get_vocab()
    for text in (*CATALOGUE, *NEW):
        assert loaded(text).input_ids == trimmed(text).input_ids
    assert (loaded.pad_token_id, loaded.eos_token_id) == (trimmed.pad_token_id, trimmed.eos_token_id)


def test_a_piece_whose_character_is_no_piece_stays() -> None:
    """Prevents an unknown token where a character stands in longer pieces alone."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("▁öl", -3.0), ("▁tee", -3.0), ("l", -4.0)]
    found = trim_tokenizer(T5Tokenizer(vocab=pieces, extra_ids=0), ["l"])
    assert found is not None
    assert "▁öl" in found[0].get_vocab() and found[0].unk_token_id not in found[0]("öl").input_ids


def t5_model(vocabulary: int, tied: bool) -> Any:
    torch.manual_seed(3)
    sizes: dict[str, Any] = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    return T5ForConditionalGeneration(
        T5Config(vocab_size=vocabulary, **sizes, decoder_start_token_id=0, tie_word_embeddings=tied)
    ).eval()


@pytest.mark.parametrize("tied", [True, False])
def test_logits_over_kept_tokens_are_those_of_the_checkpoint(tied: bool, tmp_path: Path) -> None:
    """Prevents rows in the wrong places, an output layer that is forgotten (T5 v1.1 and mT5 have their own), and a
    checkpoint that the library cannot load; the embeddings have more rows than the tokenizer tokens, as T5's."""
    tokenizer = t5()
    trimmed, kept = trimmed_of(tokenizer)
    model, smaller = (t5_model(len(tokenizer) + 28, tied) for _ in range(2))
    trim_model(smaller, kept)
    save_model(smaller, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.config.vocab_size == len(trimmed) == loaded.get_input_embeddings().weight.shape[0]
    read = trimmed([CATALOGUE[0], "<extra_id_7> honey"], padding=True, return_tensors="pt")
    written = torch.tensor([[0, *range(5, 15)]] * 2)
    places = torch.tensor(kept)
    with torch.no_grad():
        ours = loaded(**read, decoder_input_ids=written).logits
        theirs = model(
            input_ids=places[read.input_ids], attention_mask=read.attention_mask, decoder_input_ids=places[written]
        ).logits
    assert torch.allclose(ours, theirs[..., places], atol=1e-6)


def test_other_models_are_trimmed_alike() -> None:
    """Prevents BART's bias of the logits from staying behind, and special tokens of a configuration that name other
    words afterwards: decoding would begin with one of them."""
    model, smaller = tiny_bart(), tiny_bart()
    model.final_logits_bias.copy_(torch.arange(23.0)[None])
    smaller.final_logits_bias.copy_(torch.arange(23.0)[None])
    kept = [0, 1, 2, 9, 11, 20]
    smaller.config.decoder_start_token_id = smaller.config.forced_eos_token_id = 20
    trim_model(smaller, kept)
    assert smaller.config.decoder_start_token_id == smaller.config.forced_eos_token_id == 5
    read = torch.tensor([[3, 4, 5, 1]])
    places = torch.tensor(kept)
    with torch.no_grad():
        ours = smaller(input_ids=read, decoder_input_ids=read).logits
        theirs = model(input_ids=places[read], decoder_input_ids=places[read]).logits
    assert torch.allclose(ours, theirs[..., places], atol=1e-6)
    for kind in ("llama", "gpt2"):
        whole, part = (make_causal(kind, 30, end_token=20) for _ in range(2))
        trim_model(part, kept)
        assert part.config.eos_token_id == part.generation_config.eos_token_id == 5
        with torch.no_grad():
            assert torch.allclose(part(read).logits, whole(places[read]).logits[..., places], atol=1e-6)
    with pytest.raises(BadInput, match="trim_vocabulary"):
        trim_model(make_causal("llama", 30, end_token=20), [0, 1, 2])

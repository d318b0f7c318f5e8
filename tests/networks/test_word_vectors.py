"""Static word vectors: pieces of our tokenizer start from the vectors of their text, others as they were drawn."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import BPE, WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerBase

from components.errors import BadInput
from components.networks.backbone import build
from components.networks.word_vectors import PACKAGE, StaticVectors
from components.textid.words.tokenizer import train_tokenizer

WORDS = ["honey", "soap", "black", "cream", "sonic", "brush"]
TEXTS = [f"{first} {second}" for first in WORDS for second in WORDS] * 3


def folder_of(path: Path, vocabulary: dict[str, int], rows: np.ndarray) -> str:
    path.mkdir()
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(path / "tokenizer.json"))
    save_file({"rows": rows}, path / "model.safetensors")
    return str(path)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(TEXTS, vocabulary_size=256)


def row_of(tokenizer: Any, word: str) -> int:
    (number,) = tokenizer.encode(word, add_special_tokens=False)
    return int(number)


@pytest.mark.parametrize("width", [4, 32])
def test_pieces_lie_to_each_other_as_their_words_do(width: int, tmp_path: Path, tokenizer: Any) -> None:
    """Prevents a row that goes to another piece, and a projection that bends angles more than it must."""
    rows = np.random.default_rng(0).normal(size=(1 + len(WORDS), 4)).astype(np.float16)
    name = folder_of(tmp_path / "words", {word: at for at, word in enumerate(["[UNK]", *WORDS])}, rows)
    started = StaticVectors.load(name).started(tokenizer, width=width, seed=1)
    places = [row_of(tokenizer, word) for word in WORDS]
    assert np.flatnonzero(started.found).tolist() == sorted(places)  # no special token, letter or byte
    wanted = rows[1:].astype(np.float64)
    wanted -= wanted.mean(axis=0)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    assert np.allclose(started.rows[places] @ started.rows[places].T / width, wanted @ wanted.T, atol=1e-4)
    again = StaticVectors.load(name).started(tokenizer, width=width, seed=1)
    assert np.array_equal(again.rows, started.rows)


def test_a_piece_that_is_no_token_there_has_the_mean_of_those_that_spell_it(tmp_path: Path, tokenizer: Any) -> None:
    letters = sorted(set("".join(WORDS)))
    spelling = Tokenizer(BPE({letter: at for at, letter in enumerate(letters)}, []))
    spelling.pre_tokenizer = Whitespace()
    rows = np.random.default_rng(0).normal(size=(len(letters), 3)).astype(np.float32)
    (tmp_path / "letters").mkdir()
    spelling.save(str(tmp_path / "letters" / "tokenizer.json"))
    save_file({"rows": rows}, tmp_path / "letters" / "model.safetensors")
    vectors = StaticVectors.load(str(tmp_path / "letters"))
    spelt = vectors._spelt("▁soap")
    assert [letters[number] for number in spelt] == [*"soap"]
    assert vectors.started(tokenizer, width=3, seed=0).found[row_of(tokenizer, "soap")]


@pytest.mark.parametrize("family", ["encoder-decoder", "decoder-only"])
def test_a_model_keeps_the_deviation_of_its_embeddings(family: Any, tmp_path: Path, tokenizer: Any) -> None:
    """Prevents a first loss that is far from log(vocabulary), and embeddings that are not tied any more."""
    rows = np.random.default_rng(0).normal(size=(1 + len(WORDS), 8)).astype(np.float32) * 50
    name = folder_of(tmp_path / "words", {word: at for at, word in enumerate(["[UNK]", *WORDS])}, rows)
    started = StaticVectors.load(name).started(tokenizer, width=64, seed=1)
    model: Any = build("scratch", family=family, size="micro", vocabulary_size=len(tokenizer), seed=3)
    weight = model.get_input_embeddings().weight
    before = weight.detach().clone()
    started.put(model)
    changed = (weight != before).any(dim=1).numpy()
    assert np.array_equal(changed, started.found)
    assert weight[changed].std().item() == pytest.approx(before[changed].std().item(), rel=0.02)
    assert model.get_output_embeddings().weight is weight


def test_what_holds_no_vectors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no folder of static word vectors"):
        StaticVectors.load(str(tmp_path))
    name = folder_of(tmp_path / "few", {"[UNK]": 0, "soap": 1}, np.zeros((1, 4), np.float32))
    with pytest.raises(BadInput, match="2 tokens"):
        StaticVectors.load(name)


@pytest.mark.skipif(find_spec(PACKAGE) is None, reason="wordllama is not installed: pip install 'idiom[words]'")
def test_words_of_like_meaning_start_near_to_each_other(tokenizer: Any) -> None:
    """The package itself: 32,000 tokens of Llama, 256 numbers each."""
    like = [("kids", "children"), ("puzzle", "puzzles"), ("car", "vehicle"), ("dog", "dogs")]
    texts = [" ".join(pair) for pair in like] * 20
    own = train_tokenizer(texts, vocabulary_size=400)
    started = StaticVectors.load(PACKAGE).started(own, width=64, seed=1)
    pairs = [[row_of(own, word) for word in pair] for pair in like]
    assert started.found[np.array(pairs)].all()
    near = [float(started.rows[a] @ started.rows[b]) / 64 for a, b in pairs]
    far = [float(started.rows[a] @ started.rows[b]) / 64 for a, _ in pairs for c, b in pairs if c != a]
    assert min(near) > 0.3 and max(far) < 0.2, (near, far)

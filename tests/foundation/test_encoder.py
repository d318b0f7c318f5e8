"""A foundation ranker that reads texts by an encoder: what says the same in other words."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from components.errors import BadInput
from components.foundation.catalogue import Readers
from components.foundation.encoder import with_encoder
from components.foundation.foundation import Foundation
from components.foundation.school import taught_by
from components.foundation.trial import trial
from components.foundation.weights import preset
from components.ranking.hybrid import Hybrid
from components.ranking.lists import Held
from components.settings.foundation import Foundation as Settings
from components.voices.learned import Learned
from tests.ranking.shops import shop

ITEMS = 40


def circle(folder: Path) -> Path:
    """An encoder of forty words that share no letter but the first ones, each like its neighbours on a circle."""
    folder.mkdir()
    words = {f"word{number}": number for number in range(ITEMS)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="word0"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    angles = 2 * np.pi * np.outer(np.arange(ITEMS), [1, 2, 3]) / ITEMS
    save_file(
        {"rows": np.concatenate([np.cos(angles), np.sin(angles)], 1).astype(np.float32)}, folder / "m.safetensors"
    )
    return folder


def walkers(seed: int, items: int = ITEMS) -> tuple[Learned, Held]:
    """Users who walk around the circle, in a shop whose titles have no word in common."""
    learned, held = shop(seed=seed, items=items)
    names = [f"word{number}" for number in range(items)]
    return replace(learned, texts={"title": names, "text": names}), held


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A foundation whose encoder is nowhere else any more."""
    root = tmp_path_factory.mktemp("encoder")
    encoder = circle(root / "circle")
    learned, _ = walkers(3)
    taught, _ = taught_by([("alpha", learned, 0)], Settings(encoder=str(encoder), thinned=[], epochs=20), seed=1)
    taught.save(root / "foundation")
    shutil.rmtree(encoder)
    return root / "foundation"


def test_what_no_word_shares_is_found_by_its_vector(saved: Path) -> None:
    """Prevents: vectors that no feature reads, that lie on other rows, or an encoder that is left behind."""
    learned, held = walkers(5)
    found = trial(learned, held, Foundation.load(saved), preset(), core=0, masked=True, tiers=("text_only",))
    figures = found["text_only"].figures
    assert figures["text_words"] < 0.2 < 0.4 < figures["foundation"]
    assert figures["foundation"] > figures["encoder"], "the encoder alone is a rival, and does not know the direction"


def test_a_saved_recommender_needs_no_encoder(saved: Path, tmp_path: Path) -> None:
    """Prevents: a bundle that works where it was made."""
    learned, held = walkers(5)
    foundation = Foundation.load(saved)
    read = with_encoder(learned, foundation.chosen)
    readers = Readers.build(read, foundation.chosen, core=0, tiers=("text_only",))
    reader = readers.readers["text_only"]
    ranker = foundation.ranker("text_only", reader, readers.standards["text_only"])
    hybrid = Hybrid.of(ranker, reader, learned.catalogue, readers.voices)
    hybrid.save(tmp_path / "recommender")
    again = Hybrid.load(tmp_path / "recommender")
    assert np.array_equal(again.scores(held.histories, held.days), hybrid.scores(held.histories, held.days))


def test_a_small_shop_has_few_numbers_and_a_view_of_that_name_is_refused(saved: Path) -> None:
    """Prevents: whitened vectors of as many numbers as there are items, which are all at right angles."""
    learned, _ = walkers(5, items=12)
    chosen = Foundation.load(saved).chosen
    vectors = with_encoder(learned, chosen).views["encoder"]
    assert chosen.encoder_dims > 12 and np.asarray(vectors).shape == (12, 3)
    with pytest.raises(BadInput, match="encoder"):
        with_encoder(replace(learned, views={"encoder": vectors}), chosen)

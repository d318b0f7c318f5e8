"""The ID generator reads vectors of views: what only a picture tells chooses among the words of a text."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from components.networks.backbone import build
from components.networks.families import seq2seq_model
from components.networks.views import at_ends, attach
from components.progress import Progress
from components.recommender.batches.batch import Batch, labels_of
from components.recommender.loss.batch_loss import batch_loss
from components.settings.params import Index
from components.textid.table.taken import TakenIds
from components.textid.words.own import OwnWords
from components.textid.words.tokenizer import encode_texts, encode_words, end_id, train_tokenizer
from components.textid.words.twins import near_twins
from components.textid.writing.generator import Generator
from components.textid.writing.legal import Lexicon

COLOURS = ("red", "blue", "green")
BOXES = 60
TEXTS = [f"title: {' '.join(COLOURS)} box, {number % 7} of {number % 9}" for number in range(BOXES)]
IDS = [f"i{number:02d}" for number in range(BOXES)]
LEARNED = 40


def share_right(vectors: np.ndarray, colour: np.ndarray) -> float:
    """Of the boxes that were not learned from, how many have the word of their colour first in the best candidate."""
    tokenizer = train_tokenizer(TEXTS * 5, vocabulary_size=200)
    torch.manual_seed(1)
    model = build("scratch", size="d_model=32,layers=1,heads=2,d_ff=64", vocabulary_size=len(tokenizer), seed=3)
    attach(model, {"picture": vectors})
    network = seq2seq_model(model, end_token=end_id(tokenizer))
    texts = [torch.tensor(row) for row in encode_texts(tokenizer, TEXTS, max_tokens=24)[:LEARNED]]
    rows, mask = (pad_sequence(each, batch_first=True) for each in (texts, [torch.ones_like(row) for row in texts]))
    labels = labels_of(encode_words(tokenizer, [COLOURS[each] for each in colour[:LEARNED]]), end_id(tokenizer))
    batch = Batch(rows, mask, torch.from_numpy(labels), int((labels >= 0).sum()))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    model.train()
    for _ in range(60):
        read = at_ends(network, rows, mask, np.arange(LEARNED))
        loss = batch_loss(network, batch, embeddings=read)
        optimizer.zero_grad()
        (loss.total / loss.count).backward()
        optimizer.step()
    own = OwnWords.of(IDS, TEXTS)
    lexicon = Lexicon(tokenizer, own, near_twins(own), TEXTS, range(BOXES), max_tokens=8)
    numbers = {item: number for number, item in enumerate(IDS)}
    settings = Index(max_tokens=8, candidates=4, groups=1, diversity_penalty=0.0, batch_items=16)
    generator = Generator(model, tokenizer, settings, 24, own, numbers, lexicon, Progress(), None)
    asked = list(zip(IDS, TEXTS, strict=True))[LEARNED:]
    found = generator.ask(asked, TakenIds(tokenizer, max_tokens=8, taken=[]), 0.0, 8, "IDs")
    first = [options[0][0].split()[0] for options in found]
    return float(np.mean([word == COLOURS[each] for word, each in zip(first, colour[LEARNED:], strict=True)]))


def test_a_vector_chooses_the_word_that_is_true() -> None:
    """Prevents: a door that the generator does not go through, or goes through with another item's vector."""
    draw = np.random.default_rng(2)
    colour = draw.integers(3, size=BOXES)
    vectors = (draw.normal(size=(3, 16))[colour] + draw.normal(0, 0.2, (BOXES, 16))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert share_right(vectors, colour) >= 0.9
    assert share_right(vectors[draw.permutation(BOXES)], colour) <= 0.7

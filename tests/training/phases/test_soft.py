"""Soft IDs: equal to the slow, obvious ways to the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers.models.t5.modeling_t5 import T5LayerNorm

from components.networks.encoder_decoder import EncoderDecoder, shifted
from components.networks.families import seq2seq_model
from components.networks.interface import LanguageModel
from components.recommender.batches.batch import batch_of
from components.recommender.loss.batch_loss import batch_loss
from components.recommender.prompts.phrasings import Pieces, Prompt
from components.textid.writing.legal import LegalWords, _columns
from components.training.phases.soft import SoftIds, choose, mean_embeddings, places, splice, write_soft
from tests.networks.causal_models import make_causal, model_over
from tests.networks.seq2seq_models import make_bart

VOCABULARY, LONGEST, END, NEVER = 24, 5, 1, (0, 2)
PIECES = Pieces(heads=((3, 4), (5,)), tails=((6, END), (7, 8, END)), separator=(9,))


def texts(items: int, seed: int = 3) -> tuple[Tensor, Tensor]:
    """Item texts of different lengths, padded."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(3, VOCABULARY, (items, 7), generator=generator)
    mask = torch.ones_like(tokens)
    for row in range(items):
        mask[row, 3 + row % 5 :] = 0
    return tokens * mask, mask


WORDS = [[(3, 4), (5,), (3, 6)], [(7, 8, 9), (10,)], [(11,), (11, 12), (13, 14)]]
"""Own words of three items, as tokens."""


def legal_words() -> LegalWords:
    """`WORDS` as the writer has them, without demands."""
    tokens = np.full((3, 2 * LONGEST, 3), -1)
    lengths = np.zeros((3, 2, 3), dtype=np.int64)
    for item, words in enumerate(WORDS):
        for place, word in enumerate(words):
            lengths[item, :, place] = len(word)
            for half in (0, LONGEST):
                tokens[item, half : half + len(word), place] = word
    columns, positions, ends = _columns(tokens, END)
    nothing = np.zeros((3, 1), dtype=np.int64)
    arrays = (tokens, positions, lengths, columns, ends, np.zeros_like(lengths[:, 0]), nothing[:, 0], nothing)
    return LegalWords(*map(torch.from_numpy, arrays))


def next_tokens(item: int, written: tuple[int, ...]) -> set[int]:
    """What an ID of the item's own words goes on with, by trying all orders of all of them."""
    orders = (order for count in range(1, 4) for order in permutations(WORDS[item], count))
    ids = {whole for order in orders if len(whole := sum(order, ())) <= LONGEST}
    going = {whole[len(written)] for whole in ids if whole[: len(written)] == written and len(whole) > len(written)}
    return going | ({END} if written in ids else set())


def decode_with_gradient(generator: EncoderDecoder, input_ids: Tensor, mask: Tensor, *, own: bool = False) -> SoftIds:
    """The slow reference: one full forward with gradient per step, as the released code decodes.

    own: of `WORDS` alone, and among their tokens.
    """
    tokens = torch.full((len(input_ids), 1), generator.start_token)
    chosen, steps = [], []
    open_rows = torch.ones(len(input_ids), dtype=torch.bool)
    for step in range(LONGEST):
        logits = generator.module(input_ids=input_ids, attention_mask=mask, decoder_input_ids=tokens).logits[:, -1]
        if own:
            others = torch.ones_like(logits, dtype=torch.bool)
            for item, words in enumerate(WORDS):
                others[item, [END, *(token for word in words for token in word)]] = False
            logits = logits.masked_fill(others, float("-inf"))
        steps.append(logits.softmax(-1))
        choice = choose(logits, [*NEVER, END] if step == 0 else NEVER)
        if own:
            for item, row in enumerate(tokens[:, 1:].tolist()):
                may = sorted(next_tokens(item, tuple(row))) or [END]
                choice[item] = may[int(logits[item, may].argmax())]
        chosen.append(torch.where(open_rows, choice, 0))
        open_rows = open_rows & (choice != END)
        tokens = torch.cat([tokens, choice[:, None]], 1)
    whole = torch.stack(chosen, 1)
    ended = (whole == END).long().cumsum(1)
    return SoftIds(whole, (ended == 0).sum(1), torch.stack(steps, 1)[ended == 0])


def loss_of(recommender: LanguageModel, soft: SoftIds) -> tuple[Tensor, list[Prompt], list[list[int]]]:
    """The recommender's loss on two users: one reads items 0, hard, 1; the other 2, 0."""
    words, hard = soft.words(), [10, 11]
    items = [[0, -1, 1], [2, 0]]
    prompts = [
        PIECES.build(row, [hard if at < 0 else words[at] for at in chosen], max_tokens=64)
        for row, chosen in enumerate(items)
    ]
    batch = batch_of(prompts, [[12, 13], [14]], end_token=END)
    embeddings = splice(recommender, batch.input_ids, prompts, items, soft)
    return batch_loss(recommender, batch, embeddings=embeddings).total, prompts, items


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


FOUND: dict[str, int] = {}
"""Seeds of such generators, once searched for."""


@pytest.fixture(params=["t5", "bart", "llama"])
def models(request: pytest.FixtureRequest, make_t5: Callable[..., Any]) -> tuple[EncoderDecoder, LanguageModel]:
    """A generator that ends its IDs at different lengths, some before the last step, and a frozen recommender."""

    def make(vocabulary: int, seed: int) -> Any:
        if request.param == "bart":
            return make_bart("bart", vocabulary, seed=seed).double()
        return make_t5(vocabulary, seed)

    frozen = make_causal("llama", VOCABULARY).double() if request.param == "llama" else make(VOCABULARY, 1)
    frozen.requires_grad_(False)
    for seed in range(FOUND.get(request.param, 0), 100):
        generator = seq2seq_model(make(VOCABULARY, seed), end_token=END)
        lengths = write_soft(generator, [texts(3)], max_tokens=LONGEST, never=NEVER).lengths
        if len(set(lengths.tolist())) > 1:
            FOUND[request.param] = seed
            return generator, model_over(frozen)
    raise AssertionError("no seed gives IDs of different lengths")


def test_one_forward_has_the_gradient_of_decoding_with_gradient(models: tuple[EncoderDecoder, LanguageModel]) -> None:
    """Prevents a teacher-forced forward that is off by a step, or that sees other tokens than were decoded."""
    generator, recommender = models
    input_ids, mask = texts(3)
    found = []
    for write in (
        lambda: write_soft(generator, [(input_ids, mask)], max_tokens=LONGEST, never=NEVER),
        lambda: decode_with_gradient(generator, input_ids, mask),
    ):
        generator.module.zero_grad()
        soft = write()
        loss_of(recommender, soft)[0].backward()
        found.append((soft, gradients(generator.module)))
    (fast, by_fast), (slow, by_slow) = found
    assert fast.words() == slow.words()
    assert len({len(word) for word in fast.words()}) > 1, "IDs of one length would not test the end token"
    assert set(by_fast) == set(by_slow)
    largest = max(float((by_fast[name] - by_slow[name]).abs().max()) for name in by_fast)
    assert largest < 1e-6
    assert max(float(gradient.abs().max()) for gradient in by_slow.values()) > 1e-3, (
        "nothing flowed: nothing was tested"
    )


def test_own_words_have_the_gradient_of_decoding_own_words(models: tuple[EncoderDecoder, LanguageModel]) -> None:
    """Prevents a gradient towards words that the item may not say, or a choice that the writer would not make."""
    generator, recommender = models
    found = []
    for write in (
        lambda: write_soft(generator, [texts(3)], max_tokens=LONGEST, never=NEVER, legal=legal_words()),
        lambda: decode_with_gradient(generator, *texts(3), own=True),
    ):
        generator.module.zero_grad()
        soft = write()
        loss_of(recommender, soft)[0].backward()
        found.append((soft.words(), gradients(generator.module)))
    (fast, by_fast), (slow, by_slow) = found
    assert fast == slow
    assert max(float((by_fast[name] - by_slow[name]).abs().max()) for name in by_fast) < 1e-6
    assert max(float(gradient.abs().max()) for gradient in by_slow.values()) > 1e-4


def test_what_is_left_of_a_difference_is_the_float32_in_the_library_s_norm(
    make_t5: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents an approximation that hides behind "rounding": with T5's norm in float64, as all else, none is left."""

    def exact(norm: Any, states: Tensor) -> Tensor:
        scaled: Tensor = states * torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)
        return norm.weight * scaled

    monkeypatch.setattr(T5LayerNorm, "forward", exact)
    generator = seq2seq_model(make_t5(VOCABULARY, 3), end_token=END)
    weights = torch.linspace(-1, 1, VOCABULARY, dtype=torch.float64)
    found = []
    for write in (
        lambda: write_soft(generator, [texts(3)], max_tokens=LONGEST, never=NEVER),
        lambda: decode_with_gradient(generator, *texts(3)),
    ):
        generator.module.zero_grad()
        soft = write()
        (soft.probabilities[: int(soft.lengths.sum())] @ weights).square().sum().backward()
        found.append(gradients(generator.module))
    fast, slow = found
    assert max(float(gradient.abs().max()) for gradient in slow.values()) > 1e-3
    assert max(float((fast[name] - slow[name]).abs().max()) for name in slow) < 1e-13


def test_only_the_generator_gets_gradients(models: tuple[EncoderDecoder, LanguageModel]) -> None:
    """Prevents a recommender that moves in the generator's phase."""
    generator, recommender = models
    loss_of(recommender, write_soft(generator, [texts(3)], max_tokens=LONGEST, never=NEVER))[0].backward()
    assert gradients(generator.module)
    assert not gradients(recommender.module)


def one_hot(soft: SoftIds) -> SoftIds:
    written = torch.tensor([token for word in soft.words() for token in word])
    return SoftIds(soft.tokens, soft.lengths, nn.functional.one_hot(written, VOCABULARY).double())


def test_certain_soft_ids_are_the_hard_ids(models: tuple[EncoderDecoder, LanguageModel]) -> None:
    """Prevents a splice at the wrong place: with one-hot probabilities the prompt must read as its tokens."""
    generator, recommender = models
    soft = one_hot(write_soft(generator, [texts(3)], max_tokens=LONGEST, never=NEVER))
    loss, prompts, _ = loss_of(recommender, soft)
    hard = batch_loss(recommender, batch_of(prompts, [[12, 13], [14]], end_token=END)).total
    assert torch.allclose(loss, hard, atol=1e-12, rtol=0)


def test_steps_after_the_end_token_are_masked(models: tuple[EncoderDecoder, LanguageModel]) -> None:
    """Prevents distributions of padding steps from leaking into the prompt or from getting gradient."""
    generator, _ = models
    soft = write_soft(generator, [texts(3)], max_tokens=LONGEST, never=NEVER)
    items = [[0, 1], [2]]
    prompts = [PIECES.build(0, [soft.words()[at] for at in chosen], max_tokens=64) for chosen in items]
    rows, columns, steps = places(prompts, items, soft)
    assert len(rows) == int(soft.lengths.sum())
    assert int(soft.lengths.min()) < LONGEST
    at = 0
    for row, (prompt, chosen) in enumerate(zip(prompts, items, strict=True)):
        for (start, end), number in zip(prompt.spans, chosen, strict=True):
            assert rows[at : at + end - start].tolist() == [row] * (end - start)
            assert columns[at : at + end - start].tolist() == list(range(start, end))
            first = int(soft.starts[number])
            assert steps[at : at + end - start].tolist() == list(range(first, first + end - start))
            at += end - start


def test_a_cut_history_keeps_its_newest_soft_ids(models: tuple[EncoderDecoder, LanguageModel]) -> None:
    """Prevents soft IDs that slide to the wrong item where a long prompt drops its oldest items."""
    generator, _ = models
    soft = write_soft(generator, [texts(3)], max_tokens=LONGEST, never=NEVER)
    words = soft.words()
    prompt = PIECES.build(0, [words[0], words[1], words[2]], max_tokens=64, max_items=2)
    _, _, steps = places([prompt], [[0, 1, 2]], soft)
    assert steps.tolist() == list(range(len(words[0]), sum(map(len, words))))


def test_probabilities_are_mixed_and_not_their_logarithms(models: tuple[EncoderDecoder, LanguageModel]) -> None:
    """Prevents the released code's error: log-probabilities as weights give another prompt and another loss."""
    generator, recommender = models
    soft = write_soft(generator, [texts(3)], max_tokens=LONGEST, never=NEVER)
    assert torch.allclose(soft.probabilities.sum(-1), torch.ones(len(soft.probabilities), dtype=torch.float64))
    wrong = SoftIds(soft.tokens, soft.lengths, soft.probabilities.log())
    right_loss, wrong_loss = (float(loss_of(recommender, ids)[0].detach()) for ids in (soft, wrong))
    assert abs(right_loss - wrong_loss) > 1e-2
    table = recommender.embed(torch.arange(VOCABULARY)[None])[0]  # as the model reads them: BART scales its rows
    mixed = mean_embeddings(recommender, soft.probabilities[:1])[0]
    by_hand = sum(float(p) * table[token] for token, p in enumerate(soft.probabilities[0].detach()))
    assert torch.allclose(mixed, by_hand, atol=1e-12)


def test_a_wider_table_than_the_tokenizer_takes_soft_ids() -> None:
    """Checkpoints round their vocabulary up; the generator knows the tokenizer's tokens alone."""
    recommender = model_over(make_causal("qwen2", VOCABULARY))
    certain = nn.functional.one_hot(torch.tensor([7]), VOCABULARY - 5).float()
    torch.testing.assert_close(mean_embeddings(recommender, certain), recommender.embed(torch.tensor([7])))


def test_an_id_is_never_empty_nor_unknown(make_t5: Callable[..., Any]) -> None:
    """Prevents empty IDs from a generator that wants to end at once, and tokens that no text can spell."""
    generator = seq2seq_model(make_t5(VOCABULARY, 2), end_token=END)
    input_ids, mask = texts(4)
    with torch.no_grad():
        generator.module.lm_head.weight[:] = 0  # tied: every logit is equal, so forbidden tokens come first in a tie
    soft = write_soft(generator, [(input_ids, mask)], max_tokens=LONGEST, never=NEVER)
    assert int(soft.lengths.min()) >= 1
    assert not set(NEVER) & {token for word in soft.words() for token in word}


@pytest.mark.parametrize("architecture", ["t5", "bart"])
def test_states_and_head_are_the_library_s_forward(make_t5: Callable[..., Any], architecture: str) -> None:
    """Prevents a forgotten scale or bias between decoder and logits; tied T5s scale, BARTs add."""
    library = make_bart("bart", VOCABULARY, seed=0) if architecture == "bart" else make_t5(VOCABULARY, 0)
    if architecture == "bart":
        library.final_logits_bias.normal_()
    else:
        library.config.scale_decoder_outputs = True
    ids, mask = texts(3)
    soft = write_soft(seq2seq_model(library, end_token=END), [(ids, mask)], max_tokens=LONGEST, never=NEVER)
    fed = shifted(soft.tokens, library.config.decoder_start_token_id)
    logits = library(input_ids=ids, attention_mask=mask, decoder_input_ids=fed).logits
    expected = torch.cat([row[:length] for row, length in zip(logits.softmax(-1), soft.lengths, strict=True)])
    assert torch.allclose(soft.probabilities[: len(expected)], expected.to(soft.probabilities.dtype), atol=1e-5)


def test_hard_ids_are_read_as_words_and_taught_as_distributions(models: tuple[EncoderDecoder, LanguageModel]) -> None:
    """Prevents an ablation of softness without gradient, or one whose reading is not that of the words themselves."""
    generator, recommender = models
    hard = write_soft(generator, [texts(3)], max_tokens=LONGEST, never=NEVER).straight_through()
    written = int(hard.lengths.sum())
    assert torch.equal(hard.probabilities[:written].detach(), one_hot(hard).probabilities)
    loss_of(recommender, hard)[0].backward()
    assert max(float(gradient.abs().max()) for gradient in gradients(generator.module).values()) > 0
    # Straight through: the distributions get the gradient at the words, exactly.
    soft = write_soft(generator, [texts(3)], max_tokens=LONGEST, never=NEVER)
    at_words = one_hot(soft)
    at_words.probabilities.requires_grad_()
    (wanted,) = torch.autograd.grad(loss_of(recommender, at_words)[0], at_words.probabilities)
    (found,) = torch.autograd.grad(loss_of(recommender, soft.straight_through())[0], soft.probabilities)
    assert torch.allclose(found[:written], wanted, rtol=1e-12, atol=1e-14)

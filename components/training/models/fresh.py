"""The tokenizer and the two models that a training begins with: untrained, pretrained, or those of a trained pair."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from components.errors import BadInput
from components.networks.backbone import SCRATCH, build, build_tokenizer, check_fit, config_of, load_model
from components.networks.copying import ready_to_copy
from components.networks.families import language_model
from components.networks.interface import LanguageModel
from components.networks.tokenizer import load_tokenizer, save_tokenizer
from components.networks.views import attach
from components.networks.word_vectors import Said, StaticVectors, files_of
from components.networks.word_vectors import read as read_vectors
from components.recommender import soft_prompt
from components.recommender.pair import GENERATOR, RECOMMENDER, TOKENIZER
from components.recommender.prompts.phrasings import prompts_of
from components.sampling import derive
from components.settings.sizes import parse_size
from components.storage.artifacts import publish_json, read_json
from components.storage.manifest import sha256
from components.textid.words.tokenizer import end_id, pad_id, train_tokenizer
from components.textid.words.trim import named_tokens, trim_model, trim_tokenizer
from components.training.checkpoints.state import TrainingState
from components.training.context import Context
from components.training.devices.ranks import Ranks, write_once
from components.training.ids.given import words_given
from components.training.job import Job
from components.training.key import start_manifest
from components.training.models import lora
from components.training.packed.dataset import Dataset
from components.training.start import Start

KEPT = "kept.json"
"""Beside the tokenizer: which tokens of the checkpoints it has kept, by their old ids."""


def tokenizer_of(job: Job, data: Dataset, ranks: Ranks) -> Any:
    """The tokenizer that both models share: of the backbone or, from scratch, trained on item texts and prompt words.

    It is kept in the work folder: a resumed training goes on with the very same one, and the other ranks read it. With
    `trim_vocabulary` it has the tokens that the catalogue uses (textid/words/trim.py).
    """
    if job.train.lora_rank:
        lora.check_installed()
    write = partial(_write_tokenizer, job, data)
    return load_tokenizer(write_once(job.work / TOKENIZER, job.train_key, ranks, write))


def _write_tokenizer(job: Job, data: Dataset, folder: Path) -> None:
    """The tokenizer, trimmed if that is wanted, and which of a checkpoint's tokens it keeps."""
    if job.goes_on_from is not None:
        start_manifest(job.goes_on_from)
        save_tokenizer(load_tokenizer(job.goes_on_from / TOKENIZER), folder)
        return
    settings, words = job.train, prompts_of(job.train.family).texts()
    if settings.backbone == SCRATCH:
        # Prompt words once per thousand items: often enough to get tokens, rare enough not to crowd out item words.
        texts = [*data.texts, *words * (1 + len(data.texts) // 1000)]
        tokenizer: Any = train_tokenizer(texts, vocabulary_size=settings.vocabulary_size)
    else:
        tokenizer = build_tokenizer(settings.backbone)
        _check_shared(tokenizer, job)
        for name in settings.pretrained:
            check_fit(config_of(name), tokenizer, name=name)
    if settings.trim_vocabulary:
        named = {token for name in settings.pretrained for token in named_tokens(config_of(name))}
        trimmed = trim_tokenizer(tokenizer, [*data.texts, *words, *words_given(job)], keep=named)
        if trimmed is not None:
            tokenizer, kept = trimmed
            if settings.backbone != SCRATCH:
                publish_json(folder / KEPT, kept)
    save_tokenizer(tokenizer, folder)
    if settings.word_vectors is not None:
        _write_vectors(tokenizer, job, folder)


def _write_vectors(tokenizer: Any, job: Job, folder: Path) -> None:
    """The token embeddings that start from word vectors, beside the tokenizer: the same for all ranks."""
    name = job.train.word_vectors or ""
    width, seed = parse_size(job.train.size)["d_model"], derive(job.seed, "word vectors")
    started = StaticVectors.load(name).started(tokenizer, width=width, seed=seed)
    said = Said(name, sha256(files_of(name)[1]), len(started.found), int(started.found.sum()))
    started.save(folder, said)


def _check_shared(tokenizer: Any, job: Job) -> None:
    """Raises `BadInput` where a pretrained generator would read and write other words than the recommender."""
    name = job.train.generator_backbone
    if name in (SCRATCH, job.train.backbone):
        return
    theirs = build_tokenizer(name).get_vocab()
    special = set(tokenizer.all_special_tokens)
    ours = {token: number for token, number in tokenizer.get_vocab().items() if token not in special}
    if other := [token for token, number in ours.items() if theirs.get(token) != number]:
        raise BadInput(
            f"{name} and train.backbone = {job.train.backbone} have different tokenizers: {len(other)} of "
            f"{len(ours)} tokens differ, such as {min(other)!r}",
            where="train.generator_backbone",
            mend="name a checkpoint with the tokenizer of train.backbone, or set it to scratch",
        )


def fresh_models(context: Context) -> tuple[TrainingState, LanguageModel]:
    """Untrained generator and recommender, pretrained ones, or those of the pair that the training goes on from, with
    its IDs; on the device. Weights are a function of the seed."""
    device, start = context.ranks.device, context.start
    generator: Any = load_model(start.folder / GENERATOR) if start else _generator(context)
    state = TrainingState(generator.to(device), _recommender(context).to(device))
    state.table = start.table if start else None
    return state, language_model(state.recommender, end_token=context.end_token)


def fresh_recommender(context: Context, state: TrainingState) -> None:
    """Put the recommender back to its untrained weights, in place (`refit` starts over)."""
    state.recommender.load_state_dict(_recommender(context).state_dict())


def previous_recommender(context: Context, start: Start) -> LanguageModel:
    """The recommender that the training goes on from, as it was: in evaluation mode, on the device, not to learn."""
    model: Any = load_model(start.folder / RECOMMENDER, context.job.train.family)
    return language_model(model.to(context.ranks.device).requires_grad_(False), end_token=context.end_token)


def _generator(context: Context) -> Any:
    name, seed = context.job.train.generator_backbone, context.job.seed
    # Dropout keeps a generator from learning to copy: on Amazon Beauty its loss was 5.9 after 3 epochs with 0.1 and 4.2
    # without. Overfitting is no danger: the items that it learns from are those that it writes for.
    model = build(name, **_size(context), dropout=0.0, seed=derive(seed, "generator"))
    if name == SCRATCH:
        ready_to_copy(model, seed=derive(seed, "copying"))
    return _with_views(_prepared(model, context, name, "generator"), context)


def _recommender(context: Context) -> Any:
    train, seed = context.job.train, derive(context.job.seed, "recommender")
    if context.start is not None:
        model = load_model(context.start.folder / RECOMMENDER, train.family)
        if train.soft_prompt:
            return _with_soft_prompt(model, context, context.start)
        return _adapted(model, context, "recommender")
    model = build(train.backbone, family=train.family, **_size(context), dropout=train.dropout, seed=seed)
    if started := read_vectors(context.job.work / TOKENIZER):
        started.put(model)
    return _with_views(_prepared(model, context, train.backbone, "recommender"), context)


def _with_views(model: Any, context: Context) -> Any:
    """With layers for the views of `train.views`."""
    if context.views:
        attach(model, context.views, dropout=context.job.train.view_dropout)
    return model


def _size(context: Context) -> dict[str, Any]:
    """What both models from scratch share."""
    return {
        "size": context.job.train.size,
        "vocabulary_size": len(context.tokenizer),
        "pad_token": pad_id(context.tokenizer),
        "end_token": end_id(context.tokenizer),
    }


def _prepared(model: Any, context: Context, name: str, role: str) -> Any:
    """A pretrained model with the tokens that are kept, fit for tokenizer and texts, adapters where they are asked for.

    Raises `BadInput` for one that does not fit.
    """
    if name == SCRATCH:
        return model
    kept = context.job.work / TOKENIZER / KEPT
    if kept.exists():
        trim_model(model, read_json(kept))
    check_fit(model.config, context.tokenizer, name=name)
    positions = getattr(model.config, "max_position_embeddings", None)
    if role == "generator" and positions is not None and context.texts.longest > positions:
        raise BadInput(
            f"an item text takes {context.texts.longest} tokens, {name} has {positions} positions",
            where="train.max_item_tokens",
            mend=f"set it to {positions} or less",
        )
    return _adapted(model, context, role)


def _with_soft_prompt(model: Any, context: Context, start: Start) -> Any:
    """With the soft prompt of the start, or one that begins as the words of the first prompt; it alone learns."""
    soft_prompt.load(model, start.folder)
    if soft_prompt.soft_prompt_of(model) is None:
        words = context.pieces.heads[0][context.prompts.soft :]
        soft_prompt.attach(model, context.job.train.soft_prompt, words=words)
    soft_prompt.alone_learns(model)
    return model


def _adapted(model: Any, context: Context, role: str) -> Any:
    """With adapters where they are asked for, after everything that changes the model's vocabulary."""
    train = context.job.train
    if train.lora_rank:
        lora.adapt(model, rank=train.lora_rank, alpha=train.lora_alpha, seed=derive(context.job.seed, role, "lora"))
    return model

"""The tokenizer and the two fresh models of a training."""

from __future__ import annotations

import shutil
from typing import Any

from components.artifacts import publishing, verify_manifest, write_manifest
from components.errors import BadInput
from components.recommender.model import EncoderDecoder
from components.recommender.prompts import Prompts
from components.textid.backbone import SCRATCH, build, build_tokenizer
from components.textid.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer
from components.training.context import Context
from components.training.data import Dataset
from components.training.job import Job
from components.training.ranks import Ranks
from components.training.seeds import derive
from components.training.state import State


def tokenizer_of(job: Job, data: Dataset, ranks: Ranks) -> Any:
    """The tokenizer that both models share: of the backbone or, from scratch, trained on item texts and prompt words.

    It is kept in the work folder: a resumed training goes on with the very same one, and the other ranks read it.
    """
    if job.train.family != "encoder-decoder":
        raise BadInput(
            f"family {job.train.family} cannot be trained yet", where="train.family", mend="set it to encoder-decoder"
        )
    if job.train.backbone != SCRATCH:
        return build_tokenizer(job.train.backbone)
    folder = job.work / "tokenizer"
    if ranks.first:
        try:
            verify_manifest(folder)
        except BadInput:
            shutil.rmtree(folder, ignore_errors=True)
            # Prompt words once per thousand items: often enough to get tokens, rare enough not to crowd out item words.
            texts = [*data.texts, *Prompts().texts() * (1 + len(data.texts) // 1000)]
            with publishing(folder) as temporary:
                save_tokenizer(train_tokenizer(texts, vocabulary_size=job.train.vocabulary_size), temporary)
                write_manifest(temporary)
    ranks.wait()
    return load_tokenizer(folder)


def fresh_models(context: Context) -> tuple[State, EncoderDecoder]:
    """Untrained generator and recommender (or pretrained ones), on the device; weights are a function of the seed."""
    train, seed = context.job.train, context.job.seed
    size: dict[str, Any] = {"size": train.size, "vocabulary_size": len(context.tokenizer)}
    # Dropout keeps a generator from learning to copy: on Amazon Beauty its loss was 5.9 after 3 epochs with 0.1 and 4.2
    # without. There is nothing to overfit either, as the items that it learns from are those that it writes for.
    generator = build(train.generator_backbone, **size, dropout=0.0, seed=derive(seed, "generator"))
    recommender = build(train.backbone, **size, dropout=train.dropout, seed=derive(seed, "recommender"))
    device: Any = context.ranks.device
    state = State(generator.to(device), recommender.to(device))
    return state, EncoderDecoder(recommender)


def fresh_recommender(context: Context, state: State) -> None:
    """Put the recommender back to its untrained weights, in place (`refit` starts over)."""
    fresh = fresh_models(context)[0]
    state.recommender.load_state_dict(fresh.recommender.state_dict())

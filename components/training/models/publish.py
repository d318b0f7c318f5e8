"""The chosen state becomes the trained pair: one directory, whole or not there."""

from __future__ import annotations

import json
from typing import Any

from components.networks.backbone import SCRATCH
from components.recommender.pair import Pair
from components.settings.params import to_dict
from components.storage.artifacts import publishing
from components.storage.manifest import write_manifest
from components.training.checkpoints.state import State, restore_weights
from components.training.context import Context
from components.training.models.lora import merge

LOG = "training_log.jsonl"


def publish(context: Context, state: State) -> dict[str, Any]:
    """Write the best state to `job.out`, return the facts of its pair.json. The models of `state` become the best."""
    best, job = state.best, context.job
    assert best is not None, "a plan has a recommender phase"
    restore_weights(state.generator, best.generator)
    restore_weights(state.recommender, best.recommender)
    if job.train.lora_rank:  # what is served is an ordinary model
        for model, name in ((state.generator, job.train.generator_backbone), (state.recommender, job.train.backbone)):
            if name != SCRATCH:
                merge(model)
    facts = {
        "family": job.train.family,
        "train_key": job.train_key,
        "seed": job.seed,
        "train": to_dict(job.train),
        "index": to_dict(job.index),
        "max_history": job.train.max_history,
        "user_id": job.train.user_id,
        "drop_repeats": job.drop_repeats,
        "round": best.round,
        "epoch": best.epoch,
        "valid": best.metrics,
        "steps": state.steps,
        "items": len(best.table),
        "refit": job.train.refit,
    }
    pair = Pair(state.generator, state.recommender, context.tokenizer, context.prompts, best.table, facts)
    chosen = {"event": "chosen", "round": best.round, "epoch": best.epoch, **best.metrics}
    with publishing(job.out) as directory:
        pair.write(directory)
        lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) for row in [*state.log, chosen]]
        (directory / LOG).write_text("\n".join(lines) + "\n", encoding="utf-8")
        write_manifest(directory)
    return facts

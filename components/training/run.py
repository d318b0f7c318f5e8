"""A training from beginning to end: build or resume it, run the alternation, publish the pair.

    summary = launch(job, progress)          # as job.train.ranks says
    summary = train(job, progress)           # in this process, alone or as one rank of torchrun

A training is a list of phases. Between two phases, and every `checkpoint_seconds` inside one, its state is saved; a
resumed run goes on from there and ends with the same bytes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa
from safetensors import SafetensorError

from components.errors import BadInput, Interrupted
from components.networks import word_vectors
from components.networks.backbone import SCRATCH
from components.processes.nodes import Nodes
from components.processes.signals import Stop
from components.processes.torchrun import run_ranks
from components.progress import Progress
from components.recommender.catalogue import ID_TABLE
from components.recommender.pair import CATALOGUES, TOKENIZER, Pair
from components.recommender.prompts import neighbours
from components.settings.params import to_dict
from components.storage.artifacts import publishing, read_json
from components.storage.manifest import sha256, write_manifest
from components.training.alternation import Alternation
from components.training.checkpoints.checkpoint import Checkpointer, Checkpoints, no_space
from components.training.checkpoints.state import TrainingState, restore_weights
from components.training.context import Context
from components.training.crash import arm_from_environment, crash_point
from components.training.devices.ranks import Ranks, deterministic, joined
from components.training.devices.shared_folder import check_shared
from components.training.job import Job
from components.training.key import remove_abandoned
from components.training.models.fresh import fresh_models, tokenizer_of
from components.training.models.lora import merge
from components.training.packed import dataset as tables
from components.training.packed import taught
from components.training.packed.joint import joined as joined_tables
from components.training.phases.recommender import neighbour_words

LOG = "training_log.jsonl"
"""Beside the pair: a JSON line per epoch, re-index and event."""


def launch(job: Job, progress: Progress) -> dict[str, Any]:
    """Run a training as `ranks` and `nodes` say: here, or as that many processes under torchrun.

    Returns the summary, on node 0, which has published the pair; {} on another node (processes/nodes.py).
    """
    nodes = Nodes.of(job.train)
    if job.train.ranks * nodes.count == 1:
        return train(job, progress)
    run_ranks("components.training", job, ranks=job.train.ranks, nodes=nodes, progress=progress)
    return dict(read_json(job.out / "pair.json")) if nodes.first else {}


def train(job: Job, progress: Progress) -> dict[str, Any]:
    """Train the pair and publish it at `job.out`; returns what `pair.json` says.

    Raises `Interrupted` after a signal, the checkpoint being saved, and `BadInput` for data, settings or a disk that do
    not allow it. What was at `job.out` before stays until the new pair is whole.
    """
    arm_from_environment()
    try:
        stopping = Stop(give_back_sigint=True).listening()
        with joined(job.train.device) as ranks, stopping as stop, deterministic(ranks.device):
            listener = progress if ranks.first else Progress()
            return _run(job, ranks, stop, listener)
    except (OSError, SafetensorError) as error:
        if not no_space(error):
            raise
        raise BadInput(
            f"no space left: {error}",
            where=f"{job.work} and {job.out}",
            mend="make room there and run the same command again: it goes on from the last checkpoint",
        ) from error


def _run(job: Job, ranks: Ranks, stop: Stop, progress: Progress) -> dict[str, Any]:
    learned_from = {}
    if ranks.first:
        job.save(job.work / "job.json")  # for whoever wants to start it by hand
        learned_from = {"histories": sha256(job.histories), "valid_targets": sha256(job.valid_targets)}
    check_shared(job.work, ranks, time.time_ns())
    job = joined_tables(job, ranks)
    data = tables.load(job, ranks)
    context = Context.build(job, data, tokenizer_of(job, data, ranks), ranks)
    state, recommender = fresh_models(context)
    if said := word_vectors.read_said(job.work / TOKENIZER):
        progress.note(str(said))
    checkpoints = Checkpoints(job.work, job.train_key)
    checkpointer = Checkpointer(state, checkpoints, ranks, stop, seconds=job.train.checkpoint_seconds)
    alternation = Alternation(context, state, recommender, checkpointer, progress)
    number = ranks.agree(checkpoints.newest(progress.note) if ranks.first else 0)
    if number:
        checkpoints.load(number, state, alternation.optimizer_at)
        progress.note(f"going on from checkpoint {number}: {alternation.where()}")
    try:
        alternation.run()
    except Interrupted:
        checkpointer.save()
        ranks.wait()  # a rank that ended now would have torchrun kill the first one while it saves
        raise
    if not ranks.first:
        return {}
    crash_point("publish.start")
    summary = publish(context, state, learned_from)
    crash_point("publish.done")
    checkpoints.finish()
    crash_point("publish.finished")
    tables.clear(job)
    remove_abandoned(job.work, progress.note)
    return summary


def publish(context: Context, state: TrainingState, learned_from: Mapping[str, str]) -> dict[str, Any]:
    """Write the best state to `job.out`: one directory, whole or not there. Returns the facts of its pair.json.

    The models of `state` become the best ones. learned_from: table -> SHA-256 of its file, as the training opened it.
    """
    best, job = state.best, context.job
    assert best is not None, "a plan has a recommender phase"
    restore_weights(state.generator, best.generator)
    restore_weights(state.recommender, best.recommender)
    if job.train.lora_rank:  # what is served is an ordinary model
        for model, name in ((state.generator, job.train.generator_backbone), (state.recommender, job.train.backbone)):
            adapted = model is state.recommender if context.start else name != SCRATCH
            if adapted:
                merge(model)
    said = word_vectors.read_said(job.work / TOKENIZER)
    facts = {
        "family": job.train.family,
        "train_key": job.train_key,
        "learned_from": dict(learned_from),
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
        "start": context.start.said() if context.start else None,
        "word_vectors": said and asdict(said),
    }
    first, *further = context.data.shops
    if further:
        facts["items"] = first.end
        facts["catalogues"] = {
            shop.name: {**shop.said(), "valid": shop.valid(best.metrics)} for shop in context.data.shops
        }
        facts["valid"] = first.valid(best.metrics)
    table = first.table(best.table)
    pair = Pair(state.generator, state.recommender, context.tokenizer, context.prompts, table, facts)
    chosen = {"event": "chosen", "round": best.round, "epoch": best.epoch, **best.metrics}
    with publishing(job.out) as directory:
        pair.write(directory)
        if words := neighbour_words(context, best.table):
            neighbours.save(directory, table, words.answering, context.tokenizer)
        if (learned := _taught(context, epoch=best.epoch)) is not None:
            taught.save(learned, directory)
        for shop in further:
            folder = directory / CATALOGUES / shop.name
            shop.table(best.table).save(folder / ID_TABLE)
            taught.save(taught.taught(context.data, shop, refit=job.train.refit), folder)
        lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) for row in [*state.log, chosen]]
        (directory / LOG).write_text("\n".join(lines) + "\n", encoding="utf-8")
        write_manifest(directory)
    return facts


def _taught(context: Context, *, epoch: int) -> pa.Table | None:
    """What the pair has been taught of the (first) catalogue: of an update that is not taken, what its start had been
    of the users who are still here, None where that is not known."""
    if context.start is None or epoch:
        return taught.taught(context.data, context.data.shops[0], refit=context.job.train.refit)
    return None if context.start.taught is None else taught.still_here(context.start.taught, context.data)

"""One step of each phase in float64, alone or as one of several ranks; fork_server.py runs it in its children.

The first rank writes the averaged gradients of the generator (cold start), of the recommender and of the generator.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from components.textid.writing.imported import adopt
from components.training.context import Context
from components.training.devices.micro_batch import MicroBatch
from components.training.devices.ranks import Ranks, joined
from components.training.job import Job
from components.training.models.fresh import fresh_models, tokenizer_of
from components.training.packed import dataset
from components.training.phases.cold_start import ColdStart, first_ids
from components.training.phases.generator import GeneratorPhase
from components.training.phases.recommender import RecommenderPhase
from components.training.steps.loop import Phase


def step(phase: Phase, ranks: Ranks, rows: int) -> dict[str, torch.Tensor]:
    """Gradients of the first batch, averaged over all ranks' tokens, `rows` rows at a time on each rank."""
    share = phase.batches(0)[0].share(ranks.rank, ranks.size)
    parameters = list(phase.module.parameters())
    own = MicroBatch(rows).gradients(share, phase.loss, parameters, ranks.device, begin=lambda: None)
    whole = ranks.combine(parameters, own.loss, own.tokens, stop=False)
    grads = {name: p.grad.clone() for name, p in phase.module.named_parameters() if p.grad is not None}
    phase.module.zero_grad(set_to_none=True)
    return grads | {"loss": whole.loss.reshape(1), "tokens": torch.tensor([whole.tokens])}


def write_gradients(job: Job, out: Path, rows: int) -> None:
    """The step of each phase, named PHASE/PARAMETER, as `out`."""
    with joined("cpu") as ranks:
        tables = dataset.load(job)
        context = Context.build(job, tables, tokenizer_of(job, tables, ranks), ranks)
        state, recommender = fresh_models(context)
        state.generator.double()
        state.recommender.double()
        ids = adopt({}, context.tokenizer, tables.item_ids, tables.texts, max_tokens=job.index.max_tokens)[0]
        # Each is made when it begins: the last one keeps the recommender from learning.
        phases: list[Callable[[], Phase]] = [
            lambda: ColdStart(context, state.generator, first_ids(context)),
            lambda: RecommenderPhase(context, recommender, ids, round=1, after=lambda epoch, row: False),
            lambda: GeneratorPhase(context, state.generator, recommender, ids, round=2),
        ]
        found: dict[str, torch.Tensor] = {}
        for make in phases:
            phase = make()
            found |= {f"{phase.name}/{name}": value for name, value in step(phase, ranks, rows).items()}
        if ranks.first:
            save_file(found, out)

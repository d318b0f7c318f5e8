"""One step of each phase in float64, alone or as a rank of torchrun: `rank_step.py JOB.json OUT.safetensors`.

The first rank writes the averaged gradients of the recommender and of the generator.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from components.textid.imported import adopt
from components.training import data
from components.training.context import Context
from components.training.generator_phase import GeneratorPhase
from components.training.job import Job
from components.training.loop import Phase
from components.training.models import fresh_models, tokenizer_of
from components.training.ranks import Ranks, joined
from components.training.recommender_phase import RecommenderPhase


def step(phase: Phase, ranks: Ranks) -> dict[str, torch.Tensor]:
    """Gradients of the first batch, averaged over all ranks' tokens."""
    loss, tokens = phase.loss(phase.batches(0)[0])
    loss.backward()
    whole = ranks.combine(phase.module.parameters(), loss, tokens, stop=False)
    grads = {name: p.grad.clone() for name, p in phase.module.named_parameters() if p.grad is not None}
    return grads | {"loss": whole.loss.reshape(1), "tokens": torch.tensor([whole.tokens])}


torch.set_num_threads(1)
job, out = Job.load(Path(sys.argv[1])), Path(sys.argv[2])
with joined("cpu") as ranks:
    tables = data.load(job)
    context = Context.build(job, tables, tokenizer_of(job, tables, ranks), ranks)
    state, recommender = fresh_models(context)
    state.generator.double()
    state.recommender.double()
    ids = adopt({}, context.tokenizer, tables.item_ids, tables.texts, max_tokens=job.index.max_tokens)[0]
    first = RecommenderPhase(context, recommender, ids, round=1, after=lambda epoch, row: False)
    found = {f"recommender/{name}": value for name, value in step(first, ranks).items()}
    second = GeneratorPhase(context, state.generator, recommender, ids, round=2)
    found |= {f"generator/{name}": value for name, value in step(second, ranks).items()}
    if ranks.first:
        save_file(found, out)

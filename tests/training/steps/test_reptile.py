"""Reptile: what a start is that learns in blocks of tasks; resumed, it ends alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from components.progress import Progress
from components.settings.train import MetaLearning, Train
from components.training import run
from components.training.context import Context
from components.training.devices.ranks import Ranks
from components.training.ids.given import IdRule, write_given
from components.training.job import Job
from components.training.models.fresh import tokenizer_of
from components.training.packed import dataset
from components.training.phases.recommender import training_set
from components.training.steps.reptile import Reptile
from tests.training.fork_server import ForkServer


def test_it_goes_back_a_part_of_the_way_after_each_task() -> None:
    """Prevents a Reptile that is an AdamW, or one that goes back after the wrong step."""
    torch.manual_seed(1)
    plain, meta = nn.Linear(3, 1), nn.Linear(3, 1)
    meta.load_state_dict(plain.state_dict())
    began = plain.weight.detach().clone()
    both = torch.optim.AdamW(plain.parameters(), lr=0.1), Reptile(meta.parameters(), inner=3, step=0.25, lr=0.1)
    inputs = torch.randn(8, 3)
    for step in range(1, 4):
        for model, optimizer in zip((plain, meta), both, strict=True):
            optimizer.zero_grad()
            model(inputs).square().sum().backward()
            optimizer.step()
        assert torch.equal(plain.weight, meta.weight) == (step < 3)
    assert torch.allclose(meta.weight, began.lerp(plain.weight, 0.25))


@pytest.mark.parametrize("family", ["encoder-decoder", "decoder-only"])
def test_tasks_come_in_blocks(make_job: Callable[..., Job], family: str) -> None:
    """Prevents batches that mix tasks, and clusters that say nothing of what users took."""
    job = make_job(family=family, schedule="reptile", meta=MetaLearning(inner=2, clusters=3))
    data = dataset.load(job)
    context = Context.build(job, data, tokenizer_of(job, data, Ranks()), Ranks())
    assert context.tasks is not None and context.tasks.weights == [1.0] * 3
    kinds = {user: user % 6 for user in range(14)}
    task = {user: int(context.tasks.numbers[user]) for user in kinds}
    assert len({*task.values()}) == 3
    same = Counter((kinds[user], task[user]) for user in kinds)
    assert len(same) <= 8, "of 14: users who take one kind of thing are mostly in one cluster"
    table = write_given(IdRule("random", 3), context.tokenizer, job.items_clean, max_tokens=6)[0]
    rows = training_set(context, table).in_tasks(context.tasks, inner=2, seed=1, number=0, batch_size=2)
    taught = [{int(task) for task in tasks_in(context, batch)} for batch in rows]
    assert all(len(each) == 1 for each in taught) and len(set().union(*taught)) == 3
    assert all(first == second for first, second in zip(taught[::2], taught[1::2], strict=True))


def tasks_in(context: Context, batch: Any) -> list[int]:
    """The task of each row of a batch, by the place of what it teaches."""
    assert context.tasks is not None
    ends = batch.spans.end if hasattr(batch, "spans") else batch.targets + 1
    return [int(context.tasks.numbers[np.searchsorted(context.data.histories.offsets, end) - 1]) for end in ends]


def test_a_killed_training_ends_alike(make_job: Callable[..., Job], fork_server: ForkServer) -> None:
    """Prevents a resumed Reptile that forgets where its task began."""
    changes = {
        "family": "decoder-only",
        "schedule": "reptile",
        "meta": MetaLearning(inner=3),
        "checkpoint_seconds": 0.0,
    }
    calm, killed = make_job("calm", **changes), make_job("killed", **changes)
    run.train(calm, Progress())
    assert fork_server.run(killed, IDIOM_CRASH="recommender.batch:kill:5")["code"] == -9
    run.train(killed, Progress())
    weights = [(each.out / "recommender" / "model.safetensors").read_bytes() for each in (calm, killed)]
    assert weights[0] == weights[1]


def test_what_it_cannot_do_is_refused() -> None:
    """Prevents a setting that is read by nobody."""
    with pytest.raises(ValueError, match="schedule is reptile"):
        Train(schedule="reptile", refit=True)

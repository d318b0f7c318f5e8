"""The untrained models of a training, and the recommender that starts over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from components.networks.backbone import SCRATCH
from components.training.context import Context
from components.training.devices.ranks import Ranks
from components.training.job import Job
from components.training.models import fresh
from components.training.packed import dataset
from tests.training.pretrained import checkpoint

MakeJob = Callable[..., Job]


@pytest.mark.parametrize("backbone", [SCRATCH, "t5"])
def test_refit_builds_the_recommender_alone(
    backbone: str, make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a second generator in memory beside two trained models, and a start from weights that have learnt."""
    name = backbone if backbone == SCRATCH else str(checkpoint(tmp_path / backbone, backbone))
    job = make_job(backbone=name, generator_backbone=name, max_item_tokens=24)
    data = dataset.load(job)
    context = Context.build(job, data, fresh.tokenizer_of(job, data, Ranks()), Ranks())
    state, _ = fresh.fresh_models(context)
    begun = {key: value.clone() for key, value in state.recommender.state_dict().items()}
    for weight in state.recommender.parameters():
        torch.nn.init.ones_(weight)
    built: list[str] = []
    build = fresh.build

    def noted(name: str, **settings: Any) -> Any:
        built.append(name)
        return build(name, **settings)

    monkeypatch.setattr(fresh, "build", noted)
    fresh.fresh_recommender(context, state)
    assert built == [name]
    assert all(torch.equal(value, begun[key]) for key, value in state.recommender.state_dict().items())

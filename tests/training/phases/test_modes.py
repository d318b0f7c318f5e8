"""Which model drops out: the one that learns by itself, and neither in the generator phase.

A phase begins with whatever mode the one before, a re-index or a validation has left.
"""

from __future__ import annotations

import pytest
from torch import nn

from components.training.phases.cold_start import ColdStart, first_ids
from tests.training.phases.conftest import World


@pytest.mark.parametrize("kind", ["cold_start", "recommender"])
def test_what_learns_by_itself_drops_out(kind: str, world: World) -> None:
    """Prevents training without dropout from the second epoch on: validation leaves the recommender in eval mode."""
    phase = (
        ColdStart(world.context, world.generator, first_ids(world.context))
        if kind == "cold_start"
        else world.recommender_phase()
    )
    phase.module.eval()
    phase.loss(phase.batches(0)[0])
    assert phase.module.training


def test_nothing_drops_out_in_the_generator_phase(world: World) -> None:
    """Prevents soft IDs that are not those which will be written, or not read as they will be read."""
    models: list[nn.Module] = [world.generator, world.recommender.module]
    phase = world.generator_phase()
    for model in models:
        model.train()
    phase.loss(phase.batches(0)[0])
    assert [model.training for model in models] == [False, False]

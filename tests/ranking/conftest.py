"""A shop whose ranker is taught once."""

from __future__ import annotations

import pytest

from components.ranking.hybrid import Hybrid
from components.ranking.lists import Held
from components.ranking.teaching import Taught, teach
from components.settings.ranking import Rank
from components.settings.voices import Voices
from components.voices.learned import Learned
from tests.ranking.shops import shop

RANK = Rank(candidates=8, holdouts=2, networks=2, epochs=4)


@pytest.fixture(scope="package")
def learned() -> tuple[Learned, Held]:
    return shop()


@pytest.fixture(scope="package")
def taught(learned: tuple[Learned, Held]) -> Taught:
    return teach(*learned, RANK, Voices(), core=3)


@pytest.fixture(scope="package")
def hybrid(taught: Taught, learned: tuple[Learned, Held]) -> Hybrid:
    return Hybrid.of(taught.choice.ranker, taught.reader, learned[0].catalogue, Voices())

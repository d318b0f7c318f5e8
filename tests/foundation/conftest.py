"""A foundation ranker that two small shops taught, and what `idiom zero-shot` makes of a third with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from flows import zero_shot as flow
from tests.foundation.shops import write_shop


@dataclass(frozen=True)
class Done:
    """What both commands left."""

    raw: Path
    foundation: Path
    weights: Path
    out: Path
    lines: list[str]


@pytest.fixture(scope="package")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    root = tmp_path_factory.mktemp("zero")
    sources = [write_shop(root / "raw" / "alpha", users=90), write_shop(root / "raw" / "beta", seed=2, brands=False)]
    lines: list[str] = []
    foundation, weights, raw = root / "foundation", root / "weights.json", write_shop(root / "raw" / "gamma", seed=3)
    flow.foundation(sources, foundation, users=200, encoder=None, weights=weights, weight_users=60, say=lines.append)
    lines.clear()
    ask = {"bundle": None, "writer": None, "tier": None, "k": 3, "judge_users": 80}
    flow.zero_shot(raw, root / "out", foundation=foundation, **ask, say=lines.append)  # type: ignore[arg-type]
    return Done(raw, foundation, weights, root / "out", lines)

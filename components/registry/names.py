"""How figures and runs are called in MLflow, which sorts by name: the answer first, cost apart, no idle series.

logged_name("seconds/recommender_1")        # system/seconds/recommender_1: on the run's page for the machine
logged_name("recommender/epoch")            # None: a count of its own steps is no curve
run_name("demo", before, now)               # demo: train.rounds=3
"""

from __future__ import annotations

from collections.abc import Mapping

from components.evaluation.contenders import COSTS

ANSWER = "answer"
"""Group of the figures that decide. It sorts before every other one, in tables, charts and the pages of a model."""
SYSTEM = "system"
"""Group that MLflow shows on a page of its own."""
_SPEED = ("batches_per_s", "rows_at_a_time", "padding_share", "label_padding_share")
_TRIVIAL = ("round", "epoch", "target_tokens")
"""Counts of the plan: the same in every training of these settings."""

MADE_BY = ("seed", "ingest", "clean", "train", "index")
"""Sections of the settings that make a model."""
_NAMED = 2
"""Changes that a name has room for."""
MOST_CHARACTERS = 5000
"""Width of a description in MLflow's schema; SQLite does not mind more, PostgreSQL refuses it."""


def cut(text: str) -> str:
    """Whole lines of a description, as many as the store takes."""
    if len(text) <= MOST_CHARACTERS:
        return text
    return text[: MOST_CHARACTERS - 2].rsplit("\n", 1)[0] + "\n…"


def logged_name(name: str) -> str | None:
    """The name of a figure of training in MLflow; None for one that is not worth a series."""
    group, _, figure = name.rpartition("/")
    if figure in _TRIVIAL:
        return None
    return f"{SYSTEM}/{name}" if group in COSTS or figure in _SPEED else name


def run_name(
    dataset: str, before: Mapping[str, str] | None, now: Mapping[str, str], *, same_data: bool = True, code: str = ""
) -> str:
    """Dataset, and what changed since the run before: settings (flat, as MLflow's params), data, or else the code.

    before: the settings of that run; None where this one is the first. code: the commit, where it is known.
    """
    if before is None:
        return f"{dataset}: first training"
    made_by = {key for key in {*before, *now} if key.split(".")[0] in MADE_BY}
    changed = sorted(key for key in made_by if before.get(key) != now.get(key))
    said = [f"{key}={now.get(key, 'default')}" for key in changed[:_NAMED]]
    if len(changed) > _NAMED:
        said.append(f"{len(changed) - _NAMED} more")
    if not same_data:
        said.insert(0, "new data")
    return f"{dataset}: {', '.join(said) or f'code {code[:7]}'.strip()}"

"""A workspace of the demo shop with a champion, at the smallest settings: trained once for the files that ask."""

from __future__ import annotations

from pathlib import Path

from tests.workspaces import MICRO, make_workspace, run_here

STAGES = ("ingest", "validate", "clean", "train", "index", "rank", "evaluate", "register")


def trained(root: Path) -> Path:
    """Run all stages in `root`. The micro training is judged by 60 users, so the gate takes as few."""
    made = make_workspace(root, {**MICRO, "promote": {"min_users": 30}, "monitor": {"min_events": 100}})
    run_here(made, *STAGES)
    return made

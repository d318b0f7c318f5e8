"""`idiom score`: recommendations for all users to Parquet, by the champion, with the settings it was evaluated with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from components.artifacts import Layout, read_json
from components.errors import BadInput
from components.params import Params
from components.progress import ConsoleBar, reporting
from flows.signals import on_signal


def score(
    workspace: Path,
    params: Params,
    histories: Path | None,
    out: Path | None,
    *,
    bundle: Path | None,
    workers: int,
    settings: dict[str, Any],
) -> list[str]:
    """Score every user of `histories` (default: of the data) into `out`; returns lines for a person.

    bundle: a bundle directory; without it the champion's is taken. workers: 0 takes one per core and thread.
    settings: further fields of `components/recommender/bulk/settings.py`. Raises `BadInput` for what cannot be scored,
    `Interrupted` after SIGINT or SIGTERM: the same call goes on.
    """
    from components.recommender.bulk.run import score_all
    from components.recommender.bulk.settings import Scoring
    from components.registry.bundle import PARAMS, verified
    from components.registry.champion import champion_bundle

    layout = Layout(workspace, params.dataset)
    if histories is None and not layout.interactions.is_file():
        raise BadInput(
            "there are no interactions yet",
            where=str(layout.interactions),
            mend="run `idiom retrain`, or give a file of histories",
        )
    if bundle is None:
        bundle = champion_bundle(workspace, params)
    else:
        verified(bundle)
    trained = read_json(bundle / PARAMS)
    names = ("beams", "scores", "mask_seen", "length_penalty", "batch_users")
    scoring = Scoring(
        model=bundle.resolve(),
        histories=(histories or layout.interactions).resolve(),
        out=(out or layout.root / "score").resolve(),
        drop_repeats=trained["clean"]["drop_repeats"],
        **{name: trained["evaluate"][name] for name in names},
        **settings,
    )
    workers = workers or max(1, len(os.sched_getaffinity(0)) // scoring.threads)
    with on_signal() as stopped, reporting(ConsoleBar()) as progress:
        done = score_all(scoring, workers=workers, progress=progress, stopped=stopped)
    return _said(done.manifest, done.users, done.seconds, scoring.out)


def _said(manifest: dict[str, Any], scored: int, seconds: float, out: Path) -> list[str]:
    """What came of it, in words."""
    lines = [
        f"{scored:,} users in {seconds:.1f} s, {scored / seconds:.1f} users/s with the start of the processes"
        if scored
        else "nothing to do: this model, these histories and these settings are scored already",
        f"written  {out} ({manifest['users']:,} users, {manifest['recommendations']:,} recommendations)",
    ]
    if strangers := manifest["users_without_known_items"]:
        lines.append(
            f"note     {strangers:,} users have no item that the model knows (known_items is 0): "
            "they got what it finds likely for anyone"
        )
    if unknown := manifest["unknown_items"]:
        lines.append(f"note     {unknown:,} of {manifest['items']:,} items of the histories are unknown to the model")
    return lines

"""`idiom score`: recommendations for all users to Parquet, by the champion, with the settings it was evaluated with."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts import read_json
from components.errors import BadInput
from components.layout import Layout
from components.params import Params
from components.progress import ConsoleBar, reporting
from flows.signals import on_signal

if TYPE_CHECKING:
    from components.recommender.bulk.workers import Team


def score(
    workspace: Path,
    params: Params,
    histories: Path | None,
    out: Path | None,
    *,
    bundle: Path | None,
    workers: int,
    settings: dict[str, Any],
    on: str = "processes",
    dask: str | None = None,
) -> list[str]:
    """Score every user of `histories` (default: of the data) into `out`; returns lines for a person.

    bundle: a bundle directory; without it the champion's is taken. workers: 0 takes one per core and thread.
    on: processes, dask or torchrun. dask: address of a scheduler, for `on` "dask"; without it a cluster of its own.
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
    team = team_of(on, dask)
    workers = workers or max(1, len(os.sched_getaffinity(0)) // scoring.threads)
    with on_signal() as stopped, reporting(ConsoleBar()) as progress:
        done = score_all(scoring, workers=workers, progress=progress, stopped=stopped, team=team)
    return _said(done.manifest, done.users, done.seconds, scoring.out)


def team_of(on: str, address: str | None) -> Team:
    """Who scores the shards. Raises `BadInput` for a name that is none, or an address that it does not need."""
    from components.recommender.bulk.ranks import on_ranks
    from components.recommender.bulk.workers import score_shards
    from flows.dask_team import on_dask

    teams: dict[str, Team] = {
        "processes": score_shards,
        "torchrun": on_ranks,
        "dask": functools.partial(on_dask, address=address),
    }
    if on not in teams:
        raise BadInput(f"--on is {on!r}", where="idiom score", mend=f"give one of {', '.join(teams)}")
    if address and on != "dask":
        raise BadInput("--dask needs --on dask", where="idiom score", mend="leave one of them out")
    return teams[on]


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

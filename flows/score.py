"""`idiom score`: recommendations of the champion for all users as Parquet, with the settings of its evaluation.

Here it runs in this process; flows/score_flow.py is the same as a flow run in Prefect.
"""

from __future__ import annotations

import dataclasses
import functools
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.console import Console
from components.errors import BadInput
from components.processes.environment import cores
from components.processes.signals import Stop
from components.progress import Sink, reporting
from components.settings.params import Params
from components.storage.layout import Layout
from flows.holding import reading

if TYPE_CHECKING:
    from components.scoring.run import Summary
    from components.scoring.settings import Scoring
    from components.scoring.workers import Team

TEAMS = ("processes", "torchrun", "dask")


def score(
    workspace: Path,
    params: Params,
    histories: Path | None,
    out: Path | None,
    *,
    bundle: Path | None,
    workers: int,
    settings: dict[str, Any],
    team: Team,
) -> str:
    """Score every user of `histories` (default: of the data) into `out`; returns what came of it, in words.

    For the arguments and what is raised see `scoring_of`, `team_of` and `run`.
    """
    with reading(workspace, lambda words: print(words, file=sys.stderr)):
        scoring = scoring_of(workspace, params, histories, out, bundle=bundle, settings=settings)
        return in_words(run(scoring, team, workers, [Console()]), scoring)


def scoring_of(
    workspace: Path,
    params: Params,
    histories: Path | None,
    out: Path | None,
    *,
    bundle: Path | None,
    settings: dict[str, Any],
) -> Scoring:
    """What to score: by default all users of the data with the champion, into artifacts/DATASET/score.

    bundle: a directory with a bundle or a voice; without it the champion's is taken. settings: further fields of
    components/scoring/settings.py. Raises `BadInput` where there is no model, or nobody to score, where the model lacks
    the mode of the settings, or where something else than scores would be replaced.
    """
    from components.registry.bundle import decoding_of, verified
    from components.registry.champion import champion_bundle
    from components.scoring.output import refuse_others
    from components.scoring.settings import Scoring

    layout = Layout(workspace, params.dataset)
    out = (out or layout.root / "score").resolve()
    refuse_others(out, workspace)
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
    settings = dict(settings)
    decoding = decoding_of(bundle, settings.pop("mode", None))
    return Scoring(
        model=bundle.resolve(),
        histories=(histories or layout.interactions).resolve(),
        out=out,
        **dataclasses.asdict(replace(decoding, beams=max(decoding.beams, settings.get("k", Scoring.k)))),
        **settings,
    )


def run(scoring: Scoring, team: Team, workers: int, sinks: Sequence[Sink]) -> Summary:
    """Score, with progress reported to `sinks`. workers: 0 takes as many as `default_workers` says.

    Raises `BadInput` for what cannot be scored, `Interrupted` after SIGINT or SIGTERM: the same call goes on.
    """
    from components.scoring.run import score_all

    workers = workers or default_workers(scoring.device, scoring.threads)
    with Stop().listening() as stop, reporting(*sinks) as progress:
        return score_all(scoring, workers=workers, progress=progress, stopped=lambda: stop.requested, team=team)


def default_workers(device: str, threads: int) -> int:
    """Processes of this machine: one on each GPU that they would take, which it fills; else one per core and thread."""
    if device.startswith("cuda"):
        return 1  # all of them would load their model on this one
    if device == "auto" and shutil.which("nvidia-smi"):
        import torch  # 2 s, which nobody without a GPU waits for

        if gpus := torch.cuda.device_count():
            return gpus
    return max(1, cores() // threads)


def team_of(on: str, address: str | None = None) -> Team:
    """Who scores the shards: processes, torchrun or dask. address: of a Dask scheduler; none: a cluster of its own.

    Raises `BadInput` for a name that is none, or an address that it does not need.
    """
    from components.scoring.ranks import on_ranks
    from components.scoring.workers import score_shards

    if on not in TEAMS:
        raise BadInput(f"--on is {on!r}", where="idiom score", mend=f"give one of {', '.join(TEAMS)}")
    if address and on != "dask":
        raise BadInput("--dask needs --on dask", where="idiom score", mend="leave one of them out")
    if on == "dask":
        from flows.dask_team import on_dask  # imports Prefect, which the others do not need

        return functools.partial(on_dask, address=address)
    return on_ranks if on == "torchrun" else score_shards


def in_words(done: Summary, scoring: Scoring) -> str:
    """What came of it, in words."""
    from components.registry.bundle import beams_note, decoding_of

    manifest, scored, seconds = done.manifest, done.users, done.seconds
    lines = [
        f"{scored:,} users in {seconds:.1f} s, {scored / seconds:.1f} users/s with the start of the processes"
        if scored
        else "nothing to do: this model, these histories and these settings are scored already",
        f"written  {scoring.out} ({manifest['users']:,} users, {manifest['recommendations']:,} recommendations)",
    ]
    if note := beams_note(decoding_of(scoring.model), scoring.k):
        lines.append(f"note     {note}")
    if strangers := manifest["users_without_known_items"]:
        lines.append(
            f"note     {strangers:,} users have no item that the model knows (known_items is 0): "
            "they got what it finds likely for anyone"
        )
    if unknown := manifest["unknown_items"]:
        lines.append(f"note     {unknown:,} of {manifest['items']:,} items of the histories are unknown to the model")
    return "\n".join(lines)

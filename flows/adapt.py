"""`idiom adapt`: a model that other shops taught, adapted to the shop in a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from components.console import Console
from components.errors import BadInput
from components.progress import reporting
from components.settings.file import load
from components.settings.params import Params
from components.storage.artifacts import read_json
from components.storage.layout import Layout
from flows.initialise import settings_of

Say = Callable[[str], None]


def adapt(
    bundle: str,
    path: Path,
    out: Path,
    *,
    way: str,
    epochs: int,
    steps: int = 0,
    sources: Sequence[Path],
    sample_users: int,
    register: bool,
    workspace: Path,
    say: Say,
    others: Sequence[Path] = (),
    foundation: Path | None = None,
    curve: Sequence[str] = (),
    draws: int = 5,
    curve_ways: Sequence[str] = (),
    keep: bool = False,
) -> None:
    """Make a workspace for the shop in `path` at `out`, adapt `bundle` to it, judge and, if asked, register it.

    bundle: a folder, or a version (number or alias) of the workspace's model. register: in the MLflow of `workspace`,
    whose version is then named as what it was adapted from. steps: of the training, at least; few users make more
    epochs. others: bundles that went on from one start with `bundle`; the mean of all is adapted. foundation: a folder
    that `idiom foundation` saved; its ranker answers beside the shop's own. curve: numbers of users of the adaptation
    curve, each drawn `draws` times; curve_ways: of the language model, beside the ways without one. keep: by
    `out`/params.yaml as it stands, if it is there: `way`, `epochs`, `steps` and `sample_users` are what it says. Raises
    `StageError` as the stages do.
    """
    from components import adapt as rooms
    from components import curve as curves
    from components.recommender.pair import FACTS
    from components.registry.store import using

    folder, chosen = _found(bundle, workspace), rooms.way_of(way)
    curves.understood(curve)
    models = curves.model_ways(curve_ways)
    rooms.refuse_sources(sources)
    if others:
        folder = rooms.averaged([folder, *others], out)
    start = rooms.kept(folder, out)
    facts = read_json(folder / FACTS)
    ranker = {} if foundation is None else {"rank": {"foundation": rooms.kept_foundation(foundation, out)}}

    def settled(epochs: int, say: Say, *, keep: bool) -> Params:
        more = rooms.adapting(facts, start, chosen, epochs=epochs) | ranker
        return settings_of(path, out, say, keep=keep, sample_users=sample_users, more=more)

    kept = keep and (out / "params.yaml").is_file()
    params = settled(epochs, say, keep=keep)
    if kept:
        _refuse_others(params, out, start=start, foundation=ranker.get("rank", {}).get("foundation"))
        epochs, steps, way = params.train.continual.epochs, 0, "settings as they stand"
    # Where it is registered, training and version lie in one store, that of what was adapted.
    with using(workspace) if register else nullcontext():
        rooms.prepare(out, params)
        counts = curves.numbers(out, params, curve)
        if steps:
            enough = rooms.epochs_of(facts["train"], Layout(out, params.dataset), epochs, steps)
            params = settled(enough, lambda line: None, keep=False)
            say(f"epochs   {enough}, which are at least {steps} steps")
        rooms.teach(out, params)
        with reporting(Console()) as progress:
            report = rooms.judge(out, params, sources=sources, progress=progress)
            if counts:
                how: dict[str, Any] = {
                    "draws": draws,
                    "foundation": foundation,
                    "ways": models,
                    "epochs": epochs,
                    "steps": steps,
                }
                found = curves.curve(out, params, counts, **how, progress=progress)
        taught = report["taught_by"]
        say(f"adapted  {folder}{', taught by ' + ', '.join(taught) if taught else ''} ({way}) to {params.dataset}")
        for line in rooms.in_words(report):
            say(line)
        if counts:
            for line in curves.publish(out, params, found):
                say(line)
        if register:
            rooms.register(out, params)
    say(f"saved    {rooms.bundle(out, params)}")


def experts(bundles: Sequence[Path], path: Path, out: Path, *, say: Say, keep: bool = False) -> None:
    """Make a workspace for the shop in `path` at `out`, in which the models in `bundles` answer together. keep: by
    `out`/params.yaml as it stands, if it is there."""
    from components import adapt as rooms

    params = settings_of(path, out, say, keep=keep)
    with reporting(Console()) as progress:
        report = rooms.experts(out, params, bundles, progress)
    for name, found in report["over"].items():
        say(
            f"{name}: gate {report['gates'][name]:.2f}; NDCG@10 alone {found['other']:.4f}, together "
            f"{found['ours']:.4f}, {found['difference']:+.4f} (95 % {found['difference_low']:+.4f} to "
            f"{found['difference_high']:+.4f}) of {found['users']:,} users"
        )
    say(f"saved    {out / 'recommender'}")


def _refuse_others(params: Params, out: Path, *, start: str, foundation: str | None) -> None:
    """Raises `BadInput` where settings that are kept are of another start, or of another ranker beside its own."""
    for name, said, asked in (
        ("train.start", params.train.start, start),
        ("rank.foundation", params.rank.foundation, foundation),
    ):
        if said != asked:
            mend = f"set {name} to {asked or 'null'} there, or leave out --keep"
            raise BadInput(f"these settings are not of what is adapted: {name} is {said or 'null'}",
                           where=str(out / "params.yaml"), mend=mend)  # fmt: skip


def _found(bundle: str, workspace: Path) -> Path:
    """The folder of a pair or bundle, or a copy of that of a version. Raises `BadInput` where there is no version."""
    from components.registry.champion import kept_bundle

    folder = Path(bundle)
    if not folder.is_dir() and os.sep not in bundle and (workspace / "params.yaml").is_file():
        folder, _ = kept_bundle(workspace, load(workspace / "params.yaml"), bundle)
    return folder

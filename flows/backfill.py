"""`idiom backfill --from DAY --to DAY --every DAYS`: train and evaluate as if it were each of several past days.

    idiom backfill --from 2024-01-01 --to 2024-06-30 --every 30
    idiom backfill --from ... --dask tcp://scheduler:8786    # each window on a Dask worker that sees the same folders

A window is a workspace of its own, work/backfill/KEY, whose `ingest.until` is its day; what is done there is not done
again, by this range of days or another, and a training that was killed goes on from its checkpoint. In MLflow one
parent run has a child for each window, found again by its key. Nothing is registered: a model of last spring is no
challenger.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from components.errors import BadInput, Interrupted
from components.evaluation.contenders import MODEL
from components.registry.ablation import GridRuns, store_of
from components.registry.store import refuse_unfit
from components.settings.params import Params, to_dict
from components.storage.artifacts import read_json
from components.storage.layout import Layout
from components.storage.manifest import digest, sha256
from flows.ablation.places import link_input, write_params
from flows.ablation.runner import Runner, Work, grid_lock

STAGES = ("ingest", "validate", "views", "clean", "train", "index", "rank", "evaluate")
_CODE = Path(__file__).resolve().parents[1] / "components"
_MOST = 500
Say = Callable[[str], object]


@dataclass(frozen=True)
class Window:
    """One past day, and the settings as of it."""

    day: date
    params: Params
    key: str

    @property
    def title(self) -> str:
        return f"until {self.day}"


def days_between(first: date, last: date, every: int) -> list[date]:
    """`first`, and every so many days after it up to `last`. Raises `BadInput` for none, or for too many."""
    if last < first or every < 1:
        raise BadInput(
            f"no day from {first} to {last} every {every}", where="idiom backfill", mend="--from before --to"
        )
    count = (last - first).days // every + 1
    if count > _MOST:
        raise BadInput(f"{count:,} windows", where="idiom backfill", mend=f"raise --every: at most {_MOST} at a time")
    return [first + timedelta(days=every * number) for number in range(count)]


def backfill(
    workspace: Path, params: Params, days: Sequence[date], *, every: int, jobs: int, dask: str | None, say: Say
) -> int:
    """Run every window that is not done; returns the exit code: 0, 1 where one failed, 130 where it was stopped."""
    workspace = workspace.resolve()
    refuse_unfit(workspace)
    name = f"{days[0]} to {days[-1]} every {every} days"
    experiment = f"{params.register.experiment or params.dataset}-backfill"
    root = workspace / "work" / "backfill"
    params = _from_the_beginning(replace(params, register=replace(params.register, experiment=experiment)), say)
    windows = _windows(workspace, params, days)
    with grid_lock(root) as lock:
        runs = GridRuns.open(workspace, experiment, name, {each.title: {"until": str(each.day)} for each in windows})
        work = {_place(root, workspace, each): each for each in windows}
        works = [Work.at(each.title, place, STAGES) for place, each in work.items()]

        def child(each: Work) -> str:
            window = work[each.place]
            return runs.child(window.title, window.key, window.params, trains=False)

        def begin(each: Work) -> None:
            child(each)
            say(f"{each.title}: " + (f"goes on after {', '.join(each.done)}" if each.done else "begins"))

        def end(each: Work) -> None:
            if not each.finished:
                runs.failed(child(each), each.message)
                say(f"{each.title}: failed: {each.message}")
                return
            say(f"{each.title}: {_said(log(each))}, {sum(each.seconds.values()):.0f} s")

        def log(each: Work) -> dict[str, Any]:
            metrics: dict[str, Any] = read_json(Layout(each.place, params.dataset).metrics)
            runs.result(child(each), metrics, "test", each.seconds)
            return metrics

        left = [each for each in works if not each.finished]
        say(f"windows: {len(works)}, done already: {len(works) - len(left)}")
        for each in works:
            if each.finished:  # by another range, or by a call that was killed before it could tell MLflow
                log(each)
        status = "FAILED"
        try:
            if dask is None:
                Runner(lock, store_of(workspace)).run(left, jobs, begin, end)
            else:
                _on_dask(left, dask, store_of(workspace), begin, end)
            status = "FINISHED" if all(each.finished for each in works) else "FAILED"
        except Interrupted as error:
            say(f"{error.what}; {error.mend}")
            status = "KILLED"
        finally:
            table = _table(works, params.dataset)
            runs.close(table, [], status, "test")
            say(table)
    return {"FINISHED": 0, "KILLED": Interrupted.exit_code}.get(status, 1)


def _from_the_beginning(params: Params, say: Say) -> Params:
    """Without what goes on from a model of this shop, which was taught what came after these days.

    Raises `BadInput` for a soft prompt before such a model, as nothing is left to train then, and for further
    catalogues, whose stages a window has not.
    """
    train = params.train
    if params.catalogues:
        named = ", ".join(params.catalogues)
        mend = "take them out of params.yaml of a copy of the workspace, and run it there"
        raise BadInput(f"a backfill is of one catalogue, and there is {named} too", where="params.yaml", mend=mend)
    if train.start is None or train.start_elsewhere:
        return params
    what = f"train.start is left out: {train.start} was taught what came after these days"
    if train.soft_prompt:
        raise BadInput(what, where="params.yaml: train.soft_prompt", mend="set train.soft_prompt to 0")
    say(what)
    return replace(params, train=replace(train, start=None))


def _windows(workspace: Path, params: Params, days: Sequence[date]) -> list[Window]:
    """The windows, each with a key of all that decides what comes out: settings, raw data, drops, code."""
    drops = workspace / "data" / "drops" / params.dataset
    made_of = [sha256(workspace / params.ingest.path), sha256(drops) if drops.is_dir() else None]
    code = [sha256(file) for file in sorted(_CODE.rglob("*.py"))]
    found = []
    for day in days:
        of_day = replace(params, ingest=replace(params.ingest, until=str(day)))
        found.append(Window(day, of_day, digest([to_dict(of_day), made_of, code])))
    return found


def _place(root: Path, workspace: Path, window: Window) -> Path:
    """The workspace of a window, made if need be."""
    place = root / window.key[:16]
    write_params(place, window.params)
    link_input(place, workspace, window.params.ingest.path)
    if (workspace / "data" / "drops" / window.params.dataset).is_dir():
        link_input(place, workspace, f"data/drops/{window.params.dataset}")
    for name in _models(window.params):
        if (workspace / name).exists():  # else a name on the hub
            link_input(place, workspace, name)
    return place


def _models(params: Params) -> list[str]:
    """Files and folders that stages read beside the data, where they are none of the hub. What the stages of this data
    set made is none of them: it knows the present."""
    train, rank = params.train, params.rank
    named = [train.imported_ids, train.start, train.word_vectors, params.views.model, rank.foundation]
    named += [*train.pretrained, *rank.encoders.values()]
    return [name for name in dict.fromkeys(filter(None, named)) if not name.startswith(f"artifacts/{params.dataset}/")]


def _on_dask(
    works: Sequence[Work],
    address: str,
    environment: dict[str, str],
    begin: Callable[[Work], None],
    end: Callable[[Work], None],
) -> None:
    """Each window as one task of a Dask cluster; a worker that dies has its task done by another one, from there on."""
    from distributed import Client, as_completed

    with Client(address) as client:
        for each in works:
            begin(each)
        futures = {client.submit(run_window, str(each.place), environment, pure=False): each for each in works}
        for future in as_completed(list(futures)):
            each = futures[future]
            now = Work.at(each.title, each.place, each.stages)
            each.done, each.seconds = now.done, now.seconds
            each.message = str(future.exception()) if future.status == "error" else str(future.result())
            end(each)


def run_window(place: str, environment: dict[str, str]) -> str:
    """What a Dask worker does: the stages of one window in a process of its own; returns what went wrong, "" for
    nothing. That process holds the window's lock, so two workers never work on one."""
    import os
    import subprocess

    done = subprocess.run(
        [sys.executable, "-m", "flows.backfill", place],
        env={**os.environ, **environment},
        cwd=str(_CODE.parent),
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it said nothing"])[-1]


def _alone(place: Path) -> int:
    """Run the stages of one window that are left; returns the exit code."""
    failed: list[str] = []
    with grid_lock(place) as lock:
        work = Work.at(place.name, place, STAGES)
        Runner(lock, {}).run([work], 1, lambda each: None, lambda each: failed.append(each.message))
    if not work.finished:
        print(next(filter(None, failed), "stopped"), file=sys.stderr)
    return 0 if work.finished else 1


def _said(metrics: dict[str, Any]) -> str:
    protocol = metrics["protocol"]
    k, own = protocol["headline_k"], metrics[protocol["headline"]][MODEL]
    return f"NDCG@{k} {own[f'ndcg_at_{k}']:.4f}, recall@{k} {own[f'recall_at_{k}']:.4f}"


def _table(works: Sequence[Work], dataset: str) -> str:
    """One line a window, as Markdown: the description of the parent run."""
    lines = ["| window | result |", "|---|---|"]
    for each in works:
        now = Work.at(each.title, each.place, each.stages)
        said = _said(read_json(Layout(now.place, dataset).metrics)) if now.finished else "not done"
        lines.append(f"| {now.title} | {said} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(_alone(Path(sys.argv[1])))

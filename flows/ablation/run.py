"""`idiom ablate GRID.yaml`: run a grid and print its table.

    idiom ablate params/ablations-beauty-3000.yaml          # after: idiom init PATH --sample-users 3000
    idiom ablate --on valid                                 # the built-in grid; the test set stays shut
    idiom ablate tiny.yaml --jobs 1 --only base             # on the demo, two minutes on one core, with tiny.yaml:

        base: {train: {size: micro, rounds: 2, generator: {cold_start_steps: 20}, recommender: {epochs: 1}}}
        seeds: [17, 18]
        variants: {base: {}, titles as IDs: {train.ids: titles}}

First all trainings, seed by seed, with their validation figures; then, when none is left, each trained model is judged:
once, by the real stage `evaluate`. Killed at any time, the same command goes on where it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from components.errors import BadInput, GateRefused, Interrupted, StageError
from components.processes.environment import cores
from components.registry.store import refuse_unfit
from components.settings.params import Params, to_dict
from components.storage.artifacts import publish_json, publishing, read_json
from components.storage.layout import Layout
from components.storage.manifest import digest
from flows.ablation import beyond
from flows.ablation.controls import partners, said
from flows.ablation.grid import Cell, Grid, has_views, read_grid
from flows.ablation.places import On, data_params, data_place, judged_place, training_key, training_place
from flows.ablation.runner import Runner, Work, grid_lock
from flows.ablation.table import Result, markdown, rows
from flows.ablation.terminal import terminal

Say = Callable[[str], None]
DATA = ("ingest", "validate", "views", "clean")
_Key = tuple[str, int]
"""Variant and seed of a cell."""


def judged_stages(cell: Cell) -> tuple[str, ...]:
    """Stages of a cell's evaluation. Where the base has views each cell makes its own, unless its data have them, and
    teaches a ranker on them."""
    if not has_views(cell.params):
        return ("evaluate",)
    return ("rank", "evaluate") if cell.has_door else ("views", "rank", "evaluate")


@dataclass
class Training:
    """A training and the cells that it serves: more than one if they differ in `evaluate` alone."""

    work: Work
    key: str
    results: list[Result] = field(default_factory=list)


def ablate(
    workspace: Path, path: Path | None, *, on: On = "test", only: Sequence[str] = (), jobs: int = 0, say: Say = print
) -> int:
    """Run a grid in the folder `ablate/NAME` of the workspace's work folder, print its table and write it there.

    Returns the exit code.

    on: the targets that are judged by. only: names of variants (all). jobs: trainings at a time, one thread each (0:
    one per core, on a GPU one). Exit code: 0 done; 2 or 3 where all failures were of that kind, else 1; 130 stopped.
    """
    workspace = workspace.resolve()
    refuse_unfit(workspace)
    grid = read_grid(path, workspace)
    cells = _chosen(grid, only, on)
    root = workspace / "work" / "ablate" / grid.name
    with grid_lock(root) as lock:
        return _Ablation(workspace, root, grid, cells, on, jobs or _jobs(grid.base), say).run(lock)


class _Ablation:
    """A running grid: its cells, their workspaces, and what is known of them so far."""

    def __init__(self, workspace: Path, root: Path, grid: Grid, cells: list[Cell], on: On, jobs: int, say: Say) -> None:
        from components.registry.ablation import GridRuns, store_of

        self._workspace, self._root, self._grid = workspace, root, grid
        self._cells = {(cell.variant, cell.seed): cell for cell in cells}
        self._on, self._jobs, self._say = on, jobs, say
        self._experiment = f"{grid.base.register.experiment or grid.base.dataset}-ablations"
        self._runs = GridRuns.open(workspace, self._experiment, grid.name, grid.variants)
        self._store = store_of(workspace)

    def run(self, lock: int) -> int:
        runner = Runner(lock, self._store)
        results: list[Result] = []
        status = "FAILED"
        try:
            data = self._data(runner)
            trainings = self._trainings(data)
            made = {(each.variant, each.seed): each for training in trainings for each in training.results}
            results = [made[cell] for cell in self._cells]
            self._train(runner, trainings)
            self._judge(runner, data, trainings)
            status = "FAILED" if any(each.failure for each in results) else "FINISHED"
        except Interrupted as error:
            self._say(f"{error.what}; {error.mend}")
            status = "KILLED"
        finally:
            if results:
                self._publish(results, status)
            else:
                self._runs.close("", [], status, self._on)
        return Interrupted.exit_code if status == "KILLED" else _exit_code(results)

    def _data(self, runner: Runner) -> dict[_Key, Path]:
        """Where the clean tables of each cell lie; cells that need the same share them, and they are made once."""
        places: dict[str, Path] = {}
        found: dict[_Key, Path] = {}
        for cell in self._cells.values():
            params = data_params(cell, self._grid.base)
            key = digest(to_dict(params.views))  # no other section of theirs differs
            if key not in places:
                places[key] = data_place(params, self._root, self._workspace)
                self._make(runner, f"data of {cell.variant!r}" if cell.has_door else "data", places[key])
            found[cell.variant, cell.seed] = places[key]
        return found

    def _make(self, runner: Runner, title: str, place: Path) -> None:
        work = Work.at(title, place, DATA)
        runner.run([work], 1, lambda each: self._say(f"{title}: {', '.join(DATA)}"), lambda each: None)
        if not work.finished:
            kind = {2: BadInput, 3: GateRefused}.get(work.exit_code, StageError)
            raise kind(work.message, where=f"the {title} of the grid", mend=f"look at {place / 'log.txt'}")

    def _trainings(self, data: Mapping[_Key, Path]) -> list[Training]:
        """Every training of the grid, with the cells that it serves, in the order of the grid."""
        found: dict[str, Training] = {}
        for cell in self._cells.values():
            own = data[cell.variant, cell.seed]
            key = training_key(cell, self._workspace, own)
            shares = found[key].results[0].variant if key in found else ""
            if not shares:
                place = training_place(cell, key, self._root, self._workspace, own, self._experiment)
                found[key] = Training(Work.at(cell.title, place, ("train", "index")), key)
            found[key].results.append(Result(cell.variant, cell.seed, shares_with=shares))
        return list(found.values())

    def _train(self, runner: Runner, trainings: Sequence[Training]) -> None:
        by_place = {each.work.place: each for each in trainings}

        def begin(work: Work) -> None:
            self._run_of(by_place[work.place], by_place[work.place].results[0])
            self._say(f"{work.title}: training" + (" goes on" if "train" in work.seconds else ""))

        def end(work: Work) -> None:
            result = self._learn(by_place[work.place])
            outcome = result.failure or f"validation NDCG@10 {result.valid.get('ndcg_at_10', 0):.4f}"
            self._say(f"{work.title}: {outcome}, {work.seconds.get('train', 0):.0f} s")

        done = [each for each in trainings if each.work.finished]
        for training in done:
            self._learn(training)
        self._say(f"trainings: {len(trainings)}, done already: {len(done)}; {self._jobs} at a time")
        runner.run([each.work for each in trainings], self._jobs, begin, end)

    def _learn(self, training: Training) -> Result:
        """Record how a training ended, for the cells that it serves; return the first of them."""
        work = training.work
        for result in training.results:
            result.seconds |= work.seconds
            if work.finished:
                result.valid = read_json(Layout(work.place, self._grid.base.dataset).pair / "pair.json")["valid"]
            else:
                self._failed(training, result, work)
        return training.results[0]

    def _judge(self, runner: Runner, data: Mapping[_Key, Path], trainings: Sequence[Training]) -> None:
        """Evaluate every cell whose training is done; each is one look at the targets."""
        judged: dict[Path, tuple[Work, Training, list[Result]]] = {}
        for training in trainings:
            for result in training.results if training.work.finished else []:
                cell = self._cells[result.variant, result.seed]
                seed, trained = self._grid.base.seed, training.work.place
                own = data[result.variant, result.seed]
                place = judged_place(cell, self._root, own, trained, seed, self._on, self._workspace)
                work = Work.at(cell.title, place, judged_stages(cell))
                judged.setdefault(place, (work, training, []))[2].append(result)

        def end(work: Work) -> None:
            _, training, results = judged[work.place]
            for result in results:
                result.seconds |= work.seconds
                if work.finished:
                    layout = Layout(work.place, self._grid.base.dataset)
                    result.metrics, result.per_user = read_json(layout.metrics), layout.per_user
                    self._runs.result(self._run_of(training, result), result.metrics, self._on, result.seconds)
                else:
                    self._failed(training, result, work)

        for work, *_ in judged.values():
            if work.finished:
                end(work)
        left = [work for work, *_ in judged.values() if not work.finished]
        self._say(f"{len(left)} of {len(judged)} evaluations to do, on the {self._on} targets")
        runner.run(left, self._jobs, lambda work: self._say(f"{work.title}: evaluating"), end)

    def _failed(self, training: Training, result: Result, work: Work) -> None:
        result.failure, result.exit_code = work.message, work.exit_code if work.exit_code in (2, 3) else 1
        self._runs.failed(self._run_of(training, result), work.message)

    def _run_of(self, training: Training, result: Result) -> str:
        """The MLflow run of a cell: that of its training for the first cell that it serves, else one of its own."""
        cell, first = self._cells[result.variant, result.seed], result is training.results[0]
        return self._runs.child(cell.title, training.key, cell.params, trains=first)

    def _publish(self, results: list[Result], status: str) -> None:
        """Write the table to the terminal, the grid's folder and MLflow."""
        first = next(iter(self._grid.variants))
        found = rows(results, first)
        k = next((each.k for each in results if each.metrics), 10)
        more = beyond.rows(results, first, self._grid.base.evaluate.ks) if has_views(self._grid.base) else []
        about = said(results, partners(self._grid.cells()))
        text = "\n".join([markdown(found, k=k, on=self._on), *([beyond.markdown(more, first)] if more else [])])
        text += "".join(f"\n{line}\n" for line in about)
        with publishing(self._root / f"table-{self._on}.md") as temporary:
            temporary.write_text(text, encoding="utf-8")
        facts = {"grid": self._grid.name, "on": self._on, "k": k, "variants": self._grid.variants}
        publish_json(self._root / f"table-{self._on}.json", {**facts, "rows": found, "beyond": more, "says": about})
        self._runs.close(text, found, status, self._on)
        self._say("\n" + terminal(found, k=k, on=self._on))
        if more:
            self._say(beyond.terminal(more, first))
        for line in about:
            self._say(line)
        self._say(f"written to {self._root / f'table-{self._on}.md'} and .json; in MLflow: {self._experiment}")


def _chosen(grid: Grid, only: Sequence[str], on: On) -> list[Cell]:
    """The cells of the variants that were asked for. Raises `BadInput`."""
    if unknown := [name for name in only if name not in grid.variants]:
        known = ", ".join(grid.variants)
        raise BadInput(f"no variant is called {unknown[0]!r}", where=f"grid {grid.name}", mend=f"one of: {known}")
    if on == "valid" and grid.base.train.refit:
        mend = "set train.refit to false in the base, or judge --on test"
        raise BadInput("a refitted model has learned the validation targets", where=f"grid {grid.name}", mend=mend)
    return [cell for cell in grid.cells() if not only or cell.variant in only]


def _jobs(base: Params) -> int:
    """Trainings at a time: as many as there are cores for us; on a GPU one, which fills it."""
    if base.train.device != "cpu" and shutil.which("nvidia-smi"):
        return 1
    return cores()


def _exit_code(results: Sequence[Result]) -> int:
    failed = {each.exit_code for each in results if each.failure}
    return 0 if not failed else failed.pop() if len(failed) == 1 else 1

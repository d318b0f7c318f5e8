"""The alternation (IDGenRec, section 3.3): the list of phases, and how each changes the state of the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from components.networks.backbone import SCRATCH
from components.networks.interface import LanguageModel
from components.progress import Progress
from components.settings.train import Train
from components.training.checkpoints.checkpoint import Checkpointer
from components.training.checkpoints.state import Best, Place, TrainingState, weights_of
from components.training.context import Context
from components.training.crash import crash_point
from components.training.devices.cost import NOTHING, Meter
from components.training.models.fresh import fresh_recommender, previous_recommender
from components.training.phases.cold_start import ColdStart, first_ids
from components.training.phases.generator import GeneratorPhase
from components.training.phases.recommender import RecommenderPhase
from components.training.phases.reindex import reindex
from components.training.phases.validation import Validation, improves
from components.training.steps.loop import Optimisation, Phase, train_phase

ID_FIGURES = (
    *("mean_tokens", "mean_words", "own_word_share", "false_words", "distinctiveness", "distinguished"),
    *("first_choice_share", "last_resort", "numbered"),
)
"""Of a re-index's report: what is followed over the rounds."""
EXAMPLE_CHARS = 80
"""As much of an item's text stands beside its ID in the examples."""

Kind = Literal["cold_start", "index", "recommender", "generator", "refit"]


@dataclass(frozen=True)
class Task:
    """One phase of the plan."""

    kind: Kind
    round: int

    def __str__(self) -> str:
        return f"{self.kind}, round {self.round}"


def plan(settings: Train) -> list[Task]:
    """The phases in order. The first round has no generator phase: there is no trained recommender to learn from yet.

    Without a generator phase the generator stays as it is and would write the same IDs: they are not written again.
    IDs that it does not write at all (`train.ids`) leave it nothing to learn. A training that goes on from a pair
    (`train.start`) names the new items and teaches the recommender once: its IDs stand.
    """
    if settings.start is not None:
        refit = [Task("refit", 2)] if settings.refit else []
        return [Task("index", 1), Task("recommender", 1), *refit]
    writes = settings.ids == "generated"
    alternates = writes and settings.generator.epochs > 0
    tasks: list[Task] = []
    if writes and settings.generator_backbone == SCRATCH and settings.generator.cold_start_steps > 0:
        tasks.append(Task("cold_start", 1))
    tasks += [Task("index", 1), Task("recommender", 1)]
    for number in range(2, settings.rounds + 1):
        if alternates:
            tasks += [Task("generator", number), Task("index", number)]
        tasks.append(Task("recommender", number))
    return tasks + ([Task("refit", settings.rounds + 1)] if settings.refit else [])


def epochs_until(best: Best, log: Sequence[Mapping[str, Any]]) -> int:
    """Epochs that the recommender had learned when it was at its best; patience may have ended earlier rounds early."""
    epochs = (row for row in log if row["event"] == "epoch" and row["phase"] == "recommender")
    return sum((row["round"], row["epoch"]) <= (best.round, best.epoch) for row in epochs)


def learned(log: Sequence[Mapping[str, Any]], phase: str, round_number: int) -> str:
    """What a phase came to, from its epochs in the log: `; 4 epochs, loss 2.101 to 1.422, best NDCG@10 0.0412`."""
    rows = [row for row in log if row["event"] == "epoch" and row["phase"] == phase and row["round"] == round_number]
    if not rows:
        return ""
    losses = dict.fromkeys(f"{rows[at]['loss']:.3f}" for at in (0, -1))
    judged = [row["valid_ndcg_at_10"] for row in rows if "valid_ndcg_at_10" in row]
    best = f", best NDCG@10 {max(judged):.4f}" if judged else ""
    return f"; {len(rows)} epoch{'s' if len(rows) > 1 else ''}, loss {' to '.join(losses)}{best}"


class Alternation:
    """Walks the plan from `state.place` to its end."""

    def __init__(
        self,
        context: Context,
        state: TrainingState,
        recommender: LanguageModel,
        checkpointer: Checkpointer,
        progress: Progress,
    ) -> None:
        self._context, self._state, self._recommender = context, state, recommender
        self._checkpointer, self._progress = checkpointer, progress
        self._plan = plan(context.job.train)
        self._validation = Validation.sample(context)
        settings = context.job.train.recommender
        self._how = Optimisation(context.job.seed, settings.weight_decay, settings.grad_clip, settings.warmup_share)
        if context.job.train.schedule == "reptile":
            self._how = replace(self._how, meta=context.job.train.meta)

    def run(self) -> None:
        """All phases that are left. Raises `Interrupted` where the state is whole; who catches it saves."""
        while self._state.place.phase < len(self._plan):
            task = self._plan[self._state.place.phase]
            meter = self._checkpointer.meter = Meter(self._context.ranks, self._state.spent)
            name = f"{task.kind}_{task.round}"
            said, fields = self._index(task) if task.kind == "index" else self._learn(task)
            costs = meter.figures(name)
            self._progress.metrics(costs, step=self._state.steps)
            number, seconds = self._state.place.phase + 1, costs[f"seconds/{name}"]
            self._progress.note(f"phase {number} of {len(self._plan)}, {task}: {seconds:.0f} s{said}", **fields)
            self._state.place = Place(self._state.place.phase + 1)
            self._state.phase_best, self._state.phase_stale = -1.0, 0
            self._state.spent, self._checkpointer.meter = NOTHING, None
            crash_point("phase.done")
            self._checkpointer.save()

    def where(self) -> str:
        """The place, for people."""
        place = self._state.place
        if place.phase == len(self._plan):
            return "all phases are done"
        return f"{self._plan[place.phase]}, epoch {place.epoch + 1}, batch {place.batch + 1}"

    def optimizer_at(self, place: Place) -> torch.optim.Optimizer:
        """The empty optimizer of the phase at a place, to be filled from a checkpoint."""
        kind = self._plan[place.phase].kind
        generator = kind in ("cold_start", "generator")
        return self._how.optimizer(self._state.generator if generator else self._state.recommender, kind)

    def _index(self, task: Task) -> tuple[str, dict[str, Any]]:
        """Every item gets a fresh ID; returns what came of it in words, and its log line as the field `index`.

        The state changes at the end only, so that a signal may end this anywhere.
        """
        crash_point("index.start")
        table, row = reindex(self._context, self._state, task.round, self._checkpointer.stop, self._progress)
        crash_point("index.done")
        before, self._state.table = self._state.table, table
        row["steps"] = self._state.steps
        for example in row["examples"]:
            item = example["item_id"]
            example["text"] = self._context.data.texts[table.row_of[item]][:EXAMPLE_CHARS]
            example["before"] = before.words[before.row_of[item]] if before and item in before.row_of else ""
        followed = {name: float(row["report"][name]) for name in ID_FIGURES if name in row["report"]}
        row["figures"] = {"churn": row["churn"], **followed}
        self._state.log.append(row)
        figures = {f"index/{name}": value for name, value in row["figures"].items()}
        self._progress.metrics(figures, step=self._state.steps)
        such = ", ".join(f'"{example["words"]}"' for example in row["examples"][:3])
        if false := row["report"]["false_id_share"]:
            such += f"; {false:.1%} hold a word that their item's text does not have"
        return f"; {row['churn']:.1%} of the IDs are new, such as {such}", {"index": row}

    def _learn(self, task: Task) -> tuple[str, dict[str, Any]]:
        """Train what the task trains; returns what came of it in words, and no fields."""
        if self._context.start is not None and self._state.best is None:
            self._begin_as_it_was()
        phase = self._phase(task)
        try:
            train_phase(phase, self._state, self._how, self._context.ranks, self._checkpointer, self._progress)
        finally:
            if isinstance(phase, GeneratorPhase):
                phase.close()
        if task.kind == "refit":
            self._take_refit()
        return learned(self._state.log, phase.name, task.round), {}

    def _phase(self, task: Task) -> Phase:
        context, state = self._context, self._state
        if task.kind == "cold_start":
            return ColdStart(context, state.generator, first_ids(context))
        assert state.table is not None, "index comes before"
        if task.kind == "generator":
            return GeneratorPhase(context, state.generator, self._recommender, state.table, round=task.round)
        if task.kind == "refit":
            return self._refit(task)
        return RecommenderPhase(
            context,
            self._recommender,
            state.table,
            round=task.round,
            after=self._after_recommender_epoch,
            known=context.known,
            before=self._before(),
        )

    def _before(self) -> LanguageModel | None:
        """The recommender as it was, where a training that goes on is held near to it."""
        start = self._context.start
        return previous_recommender(self._context, start) if start and self._context.job.train.continual.kl else None

    def _begin_as_it_was(self) -> None:
        """Judge the recommender that the training goes on from, with the IDs of new items: what does not get better
        than it is not taken. Its log line says what is new, by reason."""
        start, known = self._context.start, self._context.known
        assert start is not None and known is not None
        row: dict[str, Any] = {"event": "start", "steps": self._state.steps, **start.said(), "users": known.counts}
        self._judge(0, row)
        self._state.log.append(row)
        if start.taught is None and not self._context.job.train.start_elsewhere:
            self._progress.note(f"{start.folder} does not say what it was taught: every history is new to it")
        counts = ", ".join(f"{count:,} {reason}" for reason, count in known.counts.items() if count)
        self._progress.note(f"going on from {start.folder}; users by what is new of them: {counts}")

    def _after_recommender_epoch(self, epoch: int, row: dict[str, Any]) -> bool:
        """Validate, keep the state if it is the best so far, say whether patience is at its end."""
        state, metrics = self._state, self._judge(epoch + 1, row)
        if improves(metrics, state.phase_best):
            state.phase_best, state.phase_stale = metrics.get("ndcg_at_10", -1.0), 0
        else:
            state.phase_stale += 1
        patience = self._context.job.train.recommender.patience
        return bool(patience) and state.phase_stale >= patience

    @property
    def _knows_nothing_here(self) -> bool:
        """Whether it goes on from a pair that was taught nothing of this shop. Where both find none of a few users'
        targets, the one that has learned something of the shop is taken."""
        return self._context.start is not None and self._context.start.taught is None

    def _judge(self, epoch: int, row: dict[str, Any]) -> dict[str, float]:
        """Validate after `epoch` epochs of the phase; keep the state if it is the best so far."""
        state = self._state
        assert state.table is not None
        with self._checkpointer.stop.at_once(alone=self._context.ranks.size == 1):
            metrics = self._validation.measure(self._recommender, state.table, self._progress)
        crash_point("recommender.validated")
        row.update({f"valid_{name}": value for name, value in metrics.items()})
        best = state.best.ndcg if state.best else -1.0
        if improves(metrics, best) or (self._knows_nothing_here and metrics["ndcg_at_10"] == best):
            round_number = self._plan[state.place.phase].round
            state.best = Best(
                ndcg=metrics.get("ndcg_at_10", -1.0),
                round=round_number,
                epoch=epoch,
                metrics=metrics,
                table=state.table,
                generator=weights_of(state.generator),
                recommender=weights_of(state.recommender),
            )
        return metrics

    def _refit(self, task: Task) -> Phase:
        """A fresh recommender on the chosen table, training + validation items, for as many epochs as were chosen; of a
        training that goes on, the one that it goes on from."""
        context, state, best = self._context, self._state, self._state.best
        assert best is not None, "a recommender phase comes before"
        if state.place == Place(state.place.phase) and state.optimizer is None:
            fresh_recommender(context, state)
        return RecommenderPhase(
            context,
            self._recommender,
            best.table,
            round=task.round,
            name="refit",
            epochs=epochs_until(best, state.log),
            histories=context.data.with_validation(),
            after=lambda epoch, row: False,
            known=context.known_prolonged,
            before=self._before(),
        )

    def _take_refit(self) -> None:
        """The refitted recommender takes the place of the chosen one; the validation figures stay the choice's."""
        assert self._state.best is not None
        self._state.best.recommender = weights_of(self._state.recommender)

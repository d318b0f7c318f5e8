"""The same recommenders under another order of ties: who may be asked, what is rebuilt, what the report says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from components.errors import BadInput
from components.evaluation import summary
from components.evaluation.arrays import UNKNOWN, Cases, cases, overlaid
from components.evaluation.contenders import MODEL, baselines
from components.evaluation.evaluate import evaluate
from components.evaluation.metrics import ranks
from components.evaluation.metrics_file import read_metrics
from components.evaluation.other_ties import OtherTies
from components.evaluation.slices import slices
from components.recommender.catalogue import Catalogue
from components.registry.log import metric_values
from components.settings.params import Evaluate
from components.storage.artifacts import publish_json, read_json
from components.storage.layout import Layout
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.voices.learned import Learned
from components.voices.load import build
from tests.evaluation.test_evaluate import Answering, Answers

ITEMS = [f"i{number:02}" for number in range(12)]
DAY = datetime(2014, 1, 1, tzinfo=UTC)
Sequences = dict[str, list[tuple[str, int]]]
# The last two of u0 swap places; of u1 an item of its history is the last one; u2 has the same items earlier in another
# order; u3 has no ties at all.
FILE: Sequences = {
    "u0": [("i00", 0), ("i01", 1), ("i02", 2), ("i03", 2)],
    "u1": [("i04", 0), ("i05", 1), ("i06", 1), ("i07", 1)],
    "u2": [("i08", 0), ("i09", 0), ("i10", 1), ("i11", 2)],
    "u3": [("i03", 0), ("i02", 1), ("i01", 2), ("i00", 3)],
}
DRAWN: Sequences = FILE | {
    "u0": [("i00", 0), ("i01", 1), ("i03", 2), ("i02", 2)],
    "u1": [("i04", 0), ("i07", 1), ("i06", 1), ("i05", 1)],
    "u2": [("i09", 0), ("i08", 0), ("i10", 1), ("i11", 2)],
}


def tables(sequences: Sequences) -> dict[str, pl.DataFrame]:
    """What `clean` writes of leave-one-out sequences of (item, day)."""

    def column(choose: Any) -> list[Any]:
        return [choose(rows) for rows in sequences.values()]

    def items(rows: Any) -> list[str]:
        return [item for item, _ in rows]

    def times(rows: Any) -> list[datetime]:
        return [DAY + timedelta(days=day) for _, day in rows]

    users = list(sequences)
    kinds = {
        "context": pl.List(pl.String),
        "also": pl.List(pl.String),
        "context_timestamps": pl.List(pl.Datetime("us", "UTC")),
        "timestamps": pl.List(pl.Datetime("us", "UTC")),
        "timestamp": pl.Datetime("us", "UTC"),
    }

    def targets(between: slice, at: int) -> pl.DataFrame:
        found = {
            "user_id": users,
            "context": column(lambda rows: items(rows[between])),
            "target": column(lambda rows: rows[at][0]),
            "context_timestamps": column(lambda rows: times(rows[between])),
            "timestamp": column(lambda rows: times(rows)[at]),
            "also": [[] for _ in users],
        }
        return pl.DataFrame(found, schema_overrides=kinds)

    past = {"user_id": users, "history": column(lambda rows: items(rows[:-2]))}
    past["timestamps"] = column(lambda rows: times(rows[:-2]))
    return {
        "histories": pl.DataFrame(past, schema_overrides=kinds),
        "valid": targets(slice(0, 0), -2),
        "test": targets(slice(-2, -1), -1),
    }


def asked_of(sequences: Sequences, **how: Any) -> Cases:
    return cases(pl.DataFrame({"item_id": ITEMS}), **tables(sequences), **how)


class Asked:
    """A model that answers every history with the items after its last one, and remembers what it was asked."""

    def __init__(self) -> None:
        self.histories: list[list[str]] = []

    def __call__(self, histories: Sequence[Sequence[str]], k: int, mask_seen: bool) -> Answers:
        self.histories += [list(history) for history in histories]
        return [
            [item for item in ITEMS[(ITEMS.index(history[-1]) + 1) % 12 :] + ITEMS if item not in history][:1]
            for history in histories
        ]


def run(folder: Path, *, refit: bool = False, other: bool = True, **settings: Any) -> tuple[dict[str, Any], Asked]:
    table = IdTable(tuple(ITEMS), tuple(f"word {item}" for item in ITEMS), tuple((n,) for n in range(12)))
    catalogue, model = Catalogue(table), Asked()

    def judged(sequences: Sequences) -> tuple[Cases, dict[str, Any]]:
        asked = asked_of(sequences, refit=refit, core=2)
        voices = {name: build(name, Learned(catalogue, asked.train)) for name in baselines()}
        return asked, {MODEL: Answering(catalogue, model), **voices}

    asked, recommenders = judged(FILE)
    beside = OtherTies("shuffle", *judged(DRAWN)) if other else None
    chosen = Evaluate(ks=[5, 10], **settings)
    layout = Layout(folder, "ties")
    return evaluate(chosen, asked, recommenders, catalogue, seed=17, layout=layout, other=beside), model


def test_the_model_is_asked_only_what_it_was_not_trained_on(tmp_path: Path) -> None:
    """Prevents: a model that is praised for an item it was taught as this user's next one."""
    found, model = run(tmp_path)
    assert found["protocol"]["ties"] == found["ties"]["order"] == "file"
    assert (found["ties"]["other"], found["ties"]["users"]) == ("shuffle", 4)
    # u1's other target, i05, was in its history; u2 has the same target after the same items in another order.
    assert found["ties"]["held_out"]["users"] == 3
    assert found["ties"]["users_with_another_prompt_or_target"] == 3
    # Two variants of four users, then only prompts that are new: u3's is the same, u1 is left out.
    assert len(model.histories) == 2 * 4 + 2
    assert model.histories[8:] == [["i00", "i01", "i03"], ["i09", "i08", "i10"]]
    # Asked after i02 it says i03, after i03 i04: right under the order of the file alone.
    held_out = found["ties"]["held_out"]
    assert held_out["file"]["model"]["recall_at_10"] == pytest.approx(2 / 3, abs=1e-6)
    assert held_out["shuffle"]["model"]["recall_at_10"] == pytest.approx(1 / 3, abs=1e-6)


def test_a_refit_model_has_seen_the_validation_items_too(tmp_path: Path) -> None:
    """Prevents: a target of the other order that the refit was taught, the swapped one of u0."""
    assert run(tmp_path, refit=True)[0]["ties"]["held_out"]["users"] == 2


def test_baselines_are_built_anew_for_the_other_order(tmp_path: Path) -> None:
    """Prevents: a baseline that knows, from the headline's training part, what the other order holds out."""
    found = run(tmp_path)[0]["ties"]["all"]
    assert set(found) == {"file", "shuffle"} and set(found["file"]) == set(baselines())
    table = IdTable(tuple(ITEMS), tuple(ITEMS), tuple((n,) for n in range(12)))
    for order, sequences in (("file", FILE), ("shuffle", DRAWN)):
        asked = asked_of(sequences)
        for name in baselines():
            answers = build(name, Learned(Catalogue(table), asked.train)).recommend(asked.prompt_ids(), 10, Evaluate())
            hits = [
                target in [each.item_id for each in answer]
                for target, answer in zip([ITEMS[at] for at in asked.targets], answers, strict=True)
            ]
            assert found[order][name]["recall_at_10"] == pytest.approx(sum(hits) / 4, abs=1e-6)


def test_the_report_the_file_and_mlflow_say_which_order_is_which(tmp_path: Path) -> None:
    """Prevents: figures whose order of ties nobody can tell."""
    found, _ = run(tmp_path)
    layout = Layout(tmp_path, "ties")
    metrics = read_metrics(layout.metrics)
    said = summary.ties(metrics)
    assert said.startswith("Interactions at the same time have the order of the file (clean.ties: file).")
    assert "With a drawn order instead (shuffle), NDCG@10 goes from" in said
    assert "for the 3 of them whose other target the model was not trained on" in said
    page = layout.report.read_text(encoding="utf-8")
    assert said in page and "NDCG@10, shuffle, 3 users" in page and "Ties: the order of the file (file)." in page
    assert said in summary.markdown(metrics)
    values = metric_values(metrics)
    assert values["item_graph_shuffle/ndcg_at_10"] == found["ties"]["all"]["shuffle"]["item_graph"]["ndcg_at_10"]
    assert "test_shuffle/ndcg_at_10" not in values
    for order in ("file", "shuffle"):
        held_out = found["ties"]["held_out"][order]["model"]["recall_at_10"]
        assert values[f"test_{order}_held_out/recall_at_10"] == held_out


def test_without_another_order_there_is_none_to_tell(tmp_path: Path) -> None:
    """Prevents: a second evaluation of a shop whose times do not tie."""
    found, model = run(tmp_path, other=False)
    assert found["ties"] == {"order": "file", "other": None}
    assert len(model.histories) == 8
    assert summary.ties_rows(read_metrics(Layout(tmp_path, "ties").metrics)) == []
    assert not any("held_out" in name for name in metric_values(found))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda metrics: metrics.pop("ties"), "ties is missing"),
        (lambda metrics: metrics["protocol"].update(ties="shuffle"), "ties.order is 'file'"),
        (lambda metrics: metrics["ties"].update(other="random"), "ties.other"),
        (lambda metrics: metrics["ties"]["all"].pop("shuffle"), "ties.all.shuffle"),
        (lambda metrics: metrics["ties"]["held_out"]["file"].pop("model"), "ties.held_out.file"),
        (lambda metrics: metrics["ties"]["all"]["file"]["popularity"].clear(), "ties.all.file.popularity"),
    ],
)
def test_an_edited_file_is_refused(tmp_path: Path, change: Any, named: str) -> None:
    """Prevents: a traceback of whoever reads metrics.json, or figures under another order than they were taken."""
    run(tmp_path)
    path = Layout(tmp_path, "ties").metrics
    metrics = read_json(path)
    change(metrics)
    publish_json(path, metrics)
    with pytest.raises(BadInput, match=named):
        read_metrics(path)


def test_users_whom_the_other_order_does_not_change_keep_their_rows() -> None:
    """Prevents: baselines of the other order that know only the users with ties."""
    other = {name: table.filter(pl.col("user_id") != "u3") for name, table in tables(DRAWN).items()}
    whole = overlaid(tables(FILE), other)
    for name, table in tables(DRAWN).items():
        assert whole[name].sort("user_id").equals(table)


def test_slices_by_time_and_by_the_core() -> None:
    """Prevents: targets whose order a file invented among those that are truly later, and the other way round."""
    sliced = slices(asked_of(FILE, core=2))
    by_time = {name: np.flatnonzero(mask).tolist() for name, mask in sliced["time of the target"].items()}
    assert by_time == {"later than the whole prompt": [2, 3], "same time as the prompt's last item": [0, 1]}
    by_core = sliced["training interactions of the target"]
    assert {name: int(mask.sum()) for name, mask in by_core.items()} == {"fewer than 2": 4}
    assert set(slices(asked_of(FILE))) == {"history length", "target", "time of the target"}


def test_times_come_as_arrays_beside_the_items() -> None:
    """Prevents: voices that have to guess when something was bought, or take a missing time for 1970."""
    found = tables(FILE)
    found["histories"] = found["histories"].with_columns(
        timestamps=pl.when(pl.col("user_id") != "u1").then("timestamps")
    )
    asked = cases(pl.DataFrame({"item_id": ITEMS}), **found)
    assert asked.times is not None
    day, start = 86_400_000_000, int(DAY.timestamp()) * 1_000_000
    assert asked.times.train.row(0).tolist() == [start, start + day]
    assert asked.times.prompts.row(0).tolist() == [start, start + day, start + 2 * day]
    assert asked.times.prompts.row(1).tolist() == [UNKNOWN, UNKNOWN, start + day]
    assert asked.times.targets.tolist() == [start + day * n for n in (2, 1, 2, 3)]
    assert np.flatnonzero(slices(asked)["time of the target"]["not known"]).tolist() == [1]
    some = asked.some(np.array([3, 1]))
    assert some.user_ids == ("u3", "u1") and some.prompts.row(1).tolist() == asked.prompts.row(1).tolist()
    assert some.times is not None and some.times.prompts.row(0).tolist() == asked.times.prompts.row(3).tolist()
    plain = {name: table.drop("timestamps", "context_timestamps", strict=False) for name, table in found.items()}
    plain |= {name: plain[name].drop("timestamp", "also") for name in ("valid", "test")}
    assert cases(pl.DataFrame({"item_id": ITEMS}), **plain).times is None


def test_of_a_set_the_best_ranked_item_counts(tmp_path: Path) -> None:
    """Prevents: an item of the last time that counts as a miss because another one was drawn as the target."""
    lists = np.array([[3, 5, 7], [3, 5, -1], [1, 2, 4]])
    targets, also = np.array([7, 0, 9]), Ragged.of([[5, 6], [], [8]])
    assert ranks(lists, targets).tolist() == [3, 0, 0]
    assert ranks(lists, targets, also).tolist() == [2, 0, 0]
    asked = asked_of(FILE)
    sets = replace(asked, also=Ragged.of([[1], [], [], []]))
    assert sets.right(0) == [3, 1] and sets.right(1) == [7]
    assert sets.some(np.array([0])).right(0) == [3, 1]

"""What a training tells people: a line a phase, with what came of it."""

from __future__ import annotations

import re
from collections.abc import Callable

from components.progress import Progress
from components.settings.train import RecommenderTraining
from components.training.alternation import learned
from components.training.job import Job
from components.training.run import train
from tests.training.recording import RecordingSink


def test_each_phase_ends_with_one_line(make_job: Callable[..., Job]) -> None:
    """Prevents a log in which nobody finds what a phase came to, and one of several lines for each."""
    heard = RecordingSink()
    once = RecommenderTraining(epochs=2, batch_size=8, valid_users=4, valid_beams=2)
    train(make_job(rounds=1, recommender=once), Progress([heard]))
    notes = [fields["text"] for event, fields in heard.events if event == "note"]
    assert [note.split(":")[0] for note in notes] == [
        f"phase {number} of 3, {name}, round 1" for number, name in enumerate(("cold_start", "index", "recommender"), 1)
    ]
    assert re.fullmatch(r'.*: \d+ s; 100\.0% of the IDs are new, such as (".+", ){2}".+"', notes[1])
    assert re.fullmatch(r".*: \d+ s; 2 epochs, loss \d\.\d{3} to \d\.\d{3}, best NDCG@10 0\.\d{4}", notes[2])
    events = {name for event, fields in heard.events if event == "metrics" for name in fields["values"]}
    assert {"recommender/loss", "recommender/lr", "recommender/valid_ndcg_at_10", "index/churn"} <= events


def test_words_are_of_one_phase_in_one_round() -> None:
    """Prevents the best figure of another round, and words about a phase that learned nothing here."""
    rows = [
        {"event": "epoch", "phase": phase, "round": number, "loss": loss, "valid_ndcg_at_10": found}
        for phase, number, loss, found in (
            ("a", 1, 3.0, 0.9),
            ("a", 2, 2.0, 0.05),
            ("b", 2, 7.0, 0.8),
            ("a", 2, 1.0, 0.04),
        )
    ]
    rows.append({"event": "out_of_memory", "phase": "a", "round": 2})
    assert learned(rows, "a", 2) == "; 2 epochs, loss 2.000 to 1.000, best NDCG@10 0.0500"
    assert learned([{**rows[0], "loss": 0.5}], "a", 1).startswith("; 1 epoch, loss 0.500, best")
    assert learned(rows, "c", 2) == ""

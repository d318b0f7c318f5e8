"""A whole training on a GPU that is not there: what would crash on a real one, or wait for it in every step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from components.progress import Progress
from components.settings.train import GeneratorTraining, RecommenderTraining
from components.training.job import Job
from components.training.phases.cold_start import ColdStart
from components.training.phases.generator import GeneratorPhase
from components.training.phases.recommender import RecommenderPhase
from components.training.run import train
from tests.pretended_gpu import pretended_gpu
from tests.training.devices.test_devices import losses

MakeJob = Callable[..., Job]


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("encoder-decoder", {}),
        ("decoder-only", {"precision": "auto"}),
        ("encoder-decoder", {"user_id": True, "recommender": {"loss": "trie"}}),
        ("encoder-decoder", {"precision": "bf16"}),
        ("decoder-only", {"generator": {"soft": False}, "recommender": {"loss": "trie", "micro_batch": 3}}),
    ],
)
def test_it_learns_what_a_cpu_learns(make_job: MakeJob, family: str, changes: dict[str, Any]) -> None:
    """Every phase, validation, writing IDs, checkpoints and the published pair: no tensor is left on the other side."""
    generator = {"cold_start_steps": 12, "batch_size": 2, "samples": 6, "max_history": 2}
    recommender = {"epochs": 2, "batch_size": 8, "valid_users": 8, "valid_beams": 5}
    settings = {
        "precision": "float32",
        **changes,
        "family": family,
        "dropout": 0.0,
        "compile": "off",
        "generator": GeneratorTraining(**generator | changes.get("generator", {})),
        "recommender": RecommenderTraining(**recommender | changes.get("recommender", {})),
    }
    there, here = make_job("there", **settings, device="cuda"), make_job("here", **settings)
    with pretended_gpu():
        train(there, Progress())
    train(here, Progress())
    found, expected = losses(there), losses(here)
    assert found.keys() == expected.keys() == {"cold_start", "recommender", "generator"}
    if settings["precision"] == "float32":
        assert all(found[phase] == pytest.approx(expected[phase], rel=1e-5) for phase in found)
    else:  # bf16 has 8 bits, and after the cold start the two may write other IDs
        assert found["cold_start"] == pytest.approx(expected["cold_start"], rel=0.02)


@pytest.mark.parametrize("loss", ["vocabulary", "trie"])
@pytest.mark.parametrize("family", ["encoder-decoder", "decoder-only"])
def test_a_step_waits_for_nothing_of_ours(
    make_job: MakeJob, family: str, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU that is waited for in every step stands still while the next one is prepared.

    Left are the library's own questions about the mask, one a forward (of encoder, decoder or language model; compiled
    away on a real GPU), and in the generator phase the words, which prompts are made of: once, and whether all IDs are
    written, once a word.
    """
    forwards = 2 if family == "encoder-decoder" else 1
    most: dict[str, Counter[str]] = {}
    job = make_job(
        family=family,
        device="cuda",
        compile="off",
        recommender=RecommenderTraining(epochs=1, batch_size=8, valid_users=8, valid_beams=5, loss=loss),
    )
    with pretended_gpu() as gpu:
        for phase in (ColdStart, RecommenderPhase, GeneratorPhase):

            def counted(self: Any, rows: Any, loss: Any = phase.loss, name: str = phase.__name__) -> Any:
                before = gpu.waits.copy()
                found = loss(self, rows)
                most[name] = most.get(name, Counter()) | (gpu.waits - before)
                return found

            monkeypatch.setattr(phase, "loss", counted)
        train(job, Progress())
    assert most["ColdStart"] == {"__bool__": 2}
    assert most["RecommenderPhase"] == {"__bool__": forwards}
    groups = 2  # of texts, at most: the generator's encoder and decoder read each
    assert most["GeneratorPhase"].keys() == {"__bool__", "cpu"}
    assert most["GeneratorPhase"]["cpu"] == 1
    assert most["GeneratorPhase"]["__bool__"] <= forwards + 2 * groups + job.index.max_tokens

"""Precision, compilation, and what each phase costs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from components.errors import BadInput
from components.networks.backbone import build
from components.processes.signals import Stop
from components.progress import Progress
from components.settings.train import RecommenderTraining
from components.storage.manifest import sha256
from components.training.checkpoints.checkpoint import Checkpointer, Checkpoints
from components.training.checkpoints.state import TrainingState
from components.training.devices.cost import Meter, Spent
from components.training.devices.forward import Compiled
from components.training.devices.ranks import Ranks
from components.training.job import Job
from components.training.run import train
from tests.training.recording import RecordingSink

MakeJob = Callable[..., Job]
CPU = torch.device("cpu")


def losses(job: Job) -> dict[str, list[float]]:
    """Mean loss of each epoch, by phase."""
    found: dict[str, list[float]] = {}
    for line in (job.out / "training_log.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["event"] == "epoch":
            found.setdefault(row["phase"], []).append(row["loss"])
    return found


@pytest.mark.parametrize("family", ["encoder-decoder", "decoder-only"])
def test_bf16_learns_what_float32_learns(make_job: MakeJob, family: str) -> None:
    """Prevents a precision that is accepted and ignored, one that some phase or validation cannot run in, and weights
    that are stored in it: the losses are near, not equal."""
    jobs = [make_job(name, family=family, dropout=0.0, precision=name) for name in ("float32", "bf16")]
    for job in jobs:
        train(job, Progress())
    exact, rounded = (losses(job) for job in jobs)
    assert exact.keys() == rounded.keys() == {"cold_start", "recommender", "generator"}
    assert rounded["recommender"] != exact["recommender"]
    # bf16 has 8 bits: 0.4 % a number. The cold start sees the same texts; later phases may read other IDs.
    assert rounded["cold_start"] == pytest.approx(exact["cold_start"], rel=0.02)
    assert rounded["recommender"] == pytest.approx(exact["recommender"], rel=0.2)
    sizes = [(job.out / "recommender" / "model.safetensors").stat().st_size for job in jobs]
    assert sizes[0] == sizes[1], "weights stay float32"


def test_the_cost_of_each_phase_is_reported_and_not_logged(make_job: MakeJob) -> None:
    """Prevents a phase whose cost MLflow does not show, and a clock in files that must be equal for equal runs."""
    heard, job = RecordingSink(), make_job()
    train(job, Progress([heard]))
    figures = heard.figures()
    for phase in ("cold_start_1", "index_1", "recommender_1", "generator_2", "index_2", "recommender_2"):
        assert figures[f"seconds/{phase}"] > 0
        assert figures[f"cpu_seconds/{phase}"] > 0
        assert 50 < figures[f"peak_rss_mib/{phase}"] < 100_000
    assert "seconds" not in (job.out / "training_log.jsonl").read_text()


def test_a_resumed_phase_has_cost_what_all_its_parts_did(tmp_path: Path) -> None:
    """Prevents a phase that was killed near its end from being reported as cheap."""
    tiny = build("scratch", size="micro", vocabulary_size=32)
    state, checkpoints = TrainingState(tiny, tiny), Checkpoints(tmp_path, "k" * 64)
    checkpointer = Checkpointer(state, checkpoints, Ranks(), Stop(), seconds=0.0)
    checkpointer.meter = Meter(Ranks(), Spent(seconds=100.0, device_seconds=50.0))
    checkpointer.save()
    resumed = TrainingState(tiny, tiny)
    checkpoints.load(checkpoints.newest(pytest.fail), resumed, lambda place: None)
    assert resumed.spent.seconds > 100.0
    figures = Meter(Ranks(), resumed.spent).figures("at")
    assert figures["seconds/at"] > resumed.spent.seconds
    assert figures["cpu_seconds/at"] > resumed.spent.device_seconds > 50.0


def test_the_peak_is_that_of_the_phase() -> None:
    """Prevents the memory of one phase from being reported for all that follow."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux can begin the peak of resident memory anew")
    small = Meter(Ranks()).figures("before")["peak_rss_mib/before"]
    meter = Meter(Ranks())
    block = torch.ones(64 * 2**20 // 4)  # 64 MiB, written
    del block
    large = meter.figures("at")["peak_rss_mib/at"]
    after = Meter(Ranks()).figures("after")["peak_rss_mib/after"]
    assert large - small > 50
    assert large - after > 50


class Doubled(nn.Module):
    """Counts how often it is traced or run by Python."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight * 2


def test_a_module_is_compiled_inside_the_block_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents decoding and validation from being compiled for each length, and weights that get other names."""
    calls: list[str] = []

    def fake(function: Any, **settings: Any) -> Any:
        assert settings == {"dynamic": True, "fullgraph": True}
        return lambda *arguments: calls.append("compiled") or function(*arguments)

    monkeypatch.setattr(torch, "compile", fake)
    module, x = Doubled(), torch.ones(2)
    compiled = Compiled(module, "on", CPU)
    for _ in range(2):
        with compiled:
            assert module(x).tolist() == [2.0, 2.0]
        module(x)
    assert calls == ["compiled", "compiled"]
    assert list(module.state_dict()) == ["weight"]
    for mode, device in (("off", "cuda"), ("auto", "cpu")):
        assert not Compiled(module, mode, torch.device(device)).wanted  # type: ignore[arg-type]
    assert Compiled(module, "auto", torch.device("cuda")).wanted


def breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every compilation fail with the compiler's own exception, at the first call, as it really does."""
    from torch._dynamo.exc import Unsupported

    def fake(function: Any, **settings: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            raise Unsupported("Graph break in user code\n  planted")

        return call

    monkeypatch.setattr(torch, "compile", fake)


def test_without_a_compiler_auto_goes_on_and_says_so(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a silent fallback, and one that takes another step than a training without compilation."""
    once = RecommenderTraining(epochs=1, batch_size=8, valid_users=4, valid_beams=2)
    plain = make_job("plain", rounds=1, recommender=once)
    train(plain, Progress())
    breaks(monkeypatch)
    monkeypatch.setattr(Compiled, "__init__", as_on_a_gpu(Compiled.__init__))
    heard, job = RecordingSink(), make_job("broken", rounds=1, recommender=once)
    train(job, Progress([heard]))
    notes = [fields["text"] for event, fields in heard.events if event == "note"]
    assert any("torch.compile failed, training goes on without it: Unsupported" in note for note in notes)
    assert sha256(job.out / "recommender") == sha256(plain.out / "recommender")


def as_on_a_gpu(init: Callable[..., None]) -> Callable[..., None]:
    """`Compiled.__init__` that believes to be on a GPU, where `auto` compiles."""
    return lambda self, module, mode, device: init(self, module, mode, torch.device("cuda"))


def test_without_a_compiler_on_is_an_error(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a run that was asked to compile and quietly takes twice the time."""
    breaks(monkeypatch)
    with pytest.raises(BadInput, match=r"torch\.compile failed: Unsupported[^$]*train\.compile"):
        train(make_job(rounds=1, compile="on"), Progress())


def test_errors_of_the_model_are_not_the_compilers(make_job: MakeJob) -> None:
    """Prevents a bug from being run a second time and reported as a missing compiler."""
    with pytest.raises(ValueError, match="mine"):
        Compiled(Doubled(), "auto", torch.device("cuda")).give_up(ValueError("mine"))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["encoder-decoder", "decoder-only"])
def test_one_graph_holds_every_shape(family: str, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a forward that cannot be traced whole, one that is traced anew for each length, and another result.

    Real tracing without code generation, which takes a minute of CPU for a layer; `compile: on` with a compiler was
    tried by hand (docs/log.md).
    """
    from torch._dynamo.utils import counters

    real, once = torch.compile, RecommenderTraining(epochs=2, batch_size=5, valid_users=4, valid_beams=2)
    monkeypatch.setattr(torch, "compile", lambda *given, **settings: real(*given, **settings, backend="eager"))
    torch._dynamo.reset()
    counters.clear()
    jobs = [make_job(mode, family=family, dropout=0.0, compile=mode, recommender=once) for mode in ("off", "on")]
    for job in jobs:
        train(job, Progress())
    # Cold start, recommender phase (a last batch of one row is another graph), generator phase.
    assert 3 <= counters["stats"]["unique_graphs"] <= 6
    eager, compiled = (losses(job) for job in jobs)
    for phase in eager:
        assert compiled[phase] == pytest.approx(eager[phase], rel=1e-4)


def test_a_sandbox_that_does_not_tell_its_peak_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: where the kernel's status has no peak (gVisor), a training that ends after its first phase."""
    from components.training.devices import cost

    told = cost._peak_bytes()
    (tmp_path / "status").write_text("Name:\tpython\n\nVmSize:\t  900 kB\nVmRSS:\t  500 kB\n")
    monkeypatch.setattr(cost, "_STATUS", tmp_path / "status")
    assert told / 2 < cost._peak_bytes() < 100 * told  # of the process since it began, in bytes and not in kB

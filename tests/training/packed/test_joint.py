"""Several catalogues in one training: whose items, users and figures are whose."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.errors import BadInput
from components.progress import Progress
from components.recommender.pair import Pair, of_catalogue
from components.storage.artifacts import publish_json, read_json
from components.storage.manifest import verify_manifest
from components.textid.table.id_table import IdTable
from components.textid.words.distinctive import cold_start_targets
from components.training.context import Context
from components.training.devices.ranks import Ranks
from components.training.job import ABOUT, Job
from components.training.models.fresh import fresh_models, tokenizer_of
from components.training.packed import dataset, taught
from components.training.packed.joint import joined
from components.training.phases import validation
from components.training.phases.cold_start import first_ids
from components.training.run import train
from tests.training.conftest import write_tables

ITEMS = {
    "b0": "title: red kettle of steel",
    "b0brush": "title: kettle for tea, blue",
    "k2": "title: wooden spoon long",
    "k3": "title: wooden spoon short",
}
HISTORIES = {"new": ["k2", "k3"], "u001": ["b0", "b0brush", "k2"], "u500": []}
TARGETS = {"u001": ([], "k3"), "u777": (["k3"], "b0")}


@pytest.fixture
def make_joint(make_job: Callable[..., Job], tmp_path: Path) -> Callable[..., Job]:
    """A job over the micro tables as `soaps` and a second catalogue, `tea`, with some of their ids."""
    folder = tmp_path / "tea"
    folder.mkdir()
    columns = {"item_id": list(ITEMS), "text": list(ITEMS.values())}
    pq.write_table(pa.table(columns), folder / "items_clean.parquet")
    lists = pa.array([*HISTORIES.values()], pa.large_list(pa.large_string()))
    pq.write_table(pa.table({"user_id": list(HISTORIES), "history": lists}), folder / "histories.parquet")
    contexts = pa.array([context for context, _ in TARGETS.values()], pa.large_list(pa.large_string()))
    targets = {"user_id": list(TARGETS), "context": contexts, "target": [target for _, target in TARGETS.values()]}
    pq.write_table(pa.table(targets), folder / "valid_targets.parquet")
    publish_json(folder / ABOUT, {"weight": 2.0, "drop_repeats": False})

    def make(**changes: Any) -> Job:
        return replace(make_job(**changes), dataset="soaps", further=[str(folder)])

    return make


def alone(job: Job) -> Job:
    """The training of `tea` alone."""
    (folder,) = map(Path, job.further)
    tables = {name: folder / f"{name}.parquet" for name in ("items_clean", "histories", "valid_targets")}
    return replace(job, **tables, dataset="tea", further=[], work=job.work.with_name("alone"), drop_repeats=False)


def test_ids_of_two_catalogues_are_kept_apart_and_counted(make_joint: Callable[..., Job]) -> None:
    """Prevents: a person of one shop who continues the history of another's, a product whose text is another one's, and
    a shared id that nobody is told of."""
    job = joined(make_joint(), Ranks())
    data = dataset.load(job)
    soaps, tea = data.shops
    assert (soaps.name, soaps.end, tea.first, tea.end) == ("soaps", 24, 24, 28)
    assert data.item_ids[tea.items] == [f"tea/{name}" for name in ITEMS]
    assert data.texts[tea.items] == list(ITEMS.values())
    assert tea.said() == {
        "items": 4,
        "users": 3,
        "interactions": 5,
        "items_elsewhere": 1,
        "users_elsewhere": 1,
        "weight": 2.0,
        "drop_repeats": False,
    }
    assert soaps.said()["users_elsewhere"] == soaps.said()["items_elsewhere"] == 1
    numbers = data.shop_numbers(data.histories)
    theirs = [tea.own(data.item_ids[item] for item in data.histories.row(row)) for row in (numbers == 1).nonzero()[0]]
    assert theirs == [history for _, history in sorted(HISTORIES.items()) if history]
    assert len(numbers) == 14 + 3
    at = list(data.valid_users).index("tea/u777")
    assert [data.item_ids[item] for item in data.valid_prompt(at)] == ["tea/k3"]


@pytest.mark.parametrize("refit", [False, True])
def test_what_a_catalogue_was_taught_is_what_it_alone_would_have_been(
    refit: bool, make_joint: Callable[..., Job]
) -> None:
    """Prevents: a later training that takes for new what this one taught, or a validation target for unseen."""
    job = make_joint(refit=refit)
    data = dataset.load(joined(job, Ranks()))
    single = dataset.load(alone(job))
    found, expected = (taught.taught(of, of.shops[-1], refit=refit).to_pylist() for of in (data, single))
    assert [row for row in found if row["items"]] == [row for row in expected if row["items"]]
    assert {row["user"] for row in expected} >= {row["user"] for row in found}


def test_each_catalogue_is_validated_over_its_own_items(
    make_joint: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: a state that is chosen by lists with another shop's items, or by the largest catalogue alone; and first
    IDs whose words are rare only because another shop has none of them."""
    job = joined(make_joint(), Ranks())
    data = dataset.load(job)
    context = Context.build(job, data, tokenizer_of(job, data, Ranks()), Ranks())
    texts = [data.texts[shop.items] for shop in data.shops]
    limits = {"max_words": 5, "max_tokens": 5}
    of_each = [tokens for some in texts for tokens in cold_start_targets(context.tokenizer, some, **limits)]
    assert first_ids(context) == of_each
    assert first_ids(context) != cold_start_targets(context.tokenizer, [*texts[0], *texts[1]], **limits)

    table = IdTable.from_words(context.tokenizer, {name: f"word{at}" for at, name in enumerate(data.item_ids)})
    asked: list[tuple[list[str], bool]] = []

    class Engine(validation.Engine):
        def recommend(self, histories: Any, k: int, decoding: Any, progress: Any) -> Any:
            asked.append((list(self.catalogue.table.item_ids), decoding.mask_seen))
            found = super().recommend(histories, k, decoding, progress)
            assert all(hit.item_id in self.catalogue.table.row_of for answer in found for hit in answer)
            return found

    monkeypatch.setattr(validation, "Engine", Engine)
    _, recommender = fresh_models(context)
    sample = validation.Validation.sample(context)
    assert [len(users) for users in sample.users] == [4, 2], "as many of each as there are, of eight"
    figures = sample.measure(recommender, table, Progress())
    assert [(len(items), masked) for items, masked in asked] == [(24, True), (4, False)]
    assert asked[1][0] == list(ITEMS)
    assert figures["ndcg_at_10"] == (figures["ndcg_at_10_soaps"] + figures["ndcg_at_10_tea"]) / 2
    assert figures["ndcg_at_10_tea"] > 0, "five beams find one of four items"


def test_one_training_leaves_a_pair_for_each_catalogue(make_joint: Callable[..., Job], tmp_path: Path) -> None:
    """Prevents: two weights that drift apart, an ID that two items share, and a pair of one shop with another's IDs."""
    job = make_joint()
    facts = train(job, Progress())
    assert facts["items"] == 24 and facts["catalogues"]["tea"]["items"] == 4
    assert not (job.work / "joined").exists()
    verify_manifest(job.out)
    own = tmp_path / "view"
    of_catalogue(job.out, "tea", own, {"learned_from": {"histories": "x"}})
    first, tea = Pair.load(job.out), Pair.load(own)
    assert list(tea.table.item_ids) == list(ITEMS) and len(first.table) == 24
    assert not {*tea.table.words} & {*first.table.words}
    assert tea.facts["drop_repeats"] is False and first.facts["drop_repeats"] is True
    assert tea.facts["learned_from"] == {"histories": "x"} and tea.facts["catalogue"] == "tea"
    assert (own / "recommender/model.safetensors").read_bytes() == (
        job.out / "recommender/model.safetensors"
    ).read_bytes()
    assert not (own / "catalogues").exists()
    with pytest.raises(BadInput, match="not trained on coffee"):
        of_catalogue(job.out, "coffee", tmp_path / "none", {})
    kept = read_json(job.out / "pair.json")
    (chosen,) = (row for row in map(json.loads, (job.out / "training_log.jsonl").open()) if row["event"] == "chosen")
    for name, valid in (("soaps", kept["valid"]), ("tea", tea.facts["valid"])):
        assert valid == {metric: chosen[f"{metric}_{name}"] for metric in ("ndcg_at_10", "recall_at_10")}


def test_one_catalogue_is_packed_as_it_is(make_job: Callable[..., Job], tmp_path: Path) -> None:
    """Prevents: a second copy of a shop's tables, and ids with a name before them, where there is one shop."""
    write_tables(tmp_path / "again")
    job = make_job()
    assert joined(job, Ranks()) is job
    data = dataset.load(job)
    assert [shop.items for shop in data.shops] == [slice(0, 24)] and data.shops[0].own(["a/b"]) == ["a/b"]
    assert not (job.work / "joined").exists()
    shutil.rmtree(job.work)

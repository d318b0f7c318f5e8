"""IDs by a rule instead of a generator: titles, random words, an imported table, in `train` and in `index`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import PreTrainedTokenizerBase

from components.errors import BadInput
from components.progress import Progress
from components.recommender.pair import Pair
from components.settings.file import from_dict
from components.settings.train import IdSource
from components.storage.artifacts import read_json
from components.textid.table.id_table import IdTable
from components.textid.words.tokenizer import train_tokenizer
from components.textid.writing.random_ids import drawn_from, random_words
from components.training.devices.ranks import Ranks
from components.training.ids.given import IdRule, index_given, write_given
from components.training.job import Job
from components.training.models.fresh import tokenizer_of
from components.training.packed import dataset
from components.training.run import train

MakeJob = Callable[..., Job]
TEXTS = [f"title: {a} {b} {c}" for a in ("acorn", "birch") for b in ("soap", "candle", "cream") for c in ("red", "oz")]
ITEMS = [f"i{number:02d}" for number in range(len(TEXTS))]
TITLES = [f"{text.removeprefix('title: ').title()} Wrapped In Paper" for text in TEXTS]
LONGEST = 8


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer([*TEXTS, *TITLES] * 20, vocabulary_size=300)


def items_file(folder: Path, order: list[int], titles: list[str | None] | None = None) -> Path:
    titles = titles or list(TITLES)
    path = folder / f"items-{order[0]}-{len(order)}.parquet"
    columns = {"item_id": ITEMS, "text": TEXTS, "title": titles}
    pq.write_table(pa.table({name: [column[at] for at in order] for name, column in columns.items()}), path)
    return path


def named(table: IdTable) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Words and tokens by item; the rows of a table stand in the order in which the items were asked for."""
    return dict(zip(table.item_ids, zip(table.words, table.token_ids, strict=True), strict=True))


@pytest.mark.parametrize("source", ["titles", "random"])
def test_a_rule_keeps_the_contract_whatever_the_order_of_the_rows(
    source: IdSource, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    """Prevents duplicates, IDs that are too long, and a table that depends on how the catalogue is sorted."""
    titles: list[str | None] = [TITLES[0], TITLES[0], None, *TITLES[3:]]
    forth = items_file(tmp_path, list(range(len(ITEMS))), titles)
    back = items_file(tmp_path, list(range(len(ITEMS)))[::-1], titles)
    table, report = write_given(IdRule(source, 3), tokenizer, forth, max_tokens=LONGEST)
    assert named(table) == named(write_given(IdRule(source, 3), tokenizer, back, max_tokens=LONGEST)[0])
    assert table.violations(tokenizer, max_tokens=LONGEST, item_ids=ITEMS) == []
    if source == "titles":
        assert table.words[3].startswith("acorn candle oz") and report["missing"] == 1
        assert report["last_resort"] >= 2
    else:
        assert write_given(IdRule(source, 4), tokenizer, forth, max_tokens=LONGEST)[0].words != table.words
        assert {word for words in table.words for word in words.split()} <= set(drawn_from(TEXTS))


def test_random_words_are_drawn_again_when_they_are_taken(tokenizer: PreTrainedTokenizerBase) -> None:
    """Prevents two items of one ID, and a word of the item's own text as the way out, which would be meaning."""
    first = random_words(tokenizer, ITEMS[:1], TEXTS, seed=1, max_tokens=LONGEST)
    again = random_words(tokenizer, ITEMS[:1], TEXTS, seed=1, max_tokens=LONGEST, taken=first.values())
    assert first.keys() == again.keys() and first != again
    few = [f"only {number % 2}" for number in range(9)]  # three words: 7 IDs at most, many more items
    named = random_words(tokenizer, [str(n) for n in range(40)], few, seed=1, max_tokens=LONGEST)
    assert 0 < len(named) < 40 and len(set(named.values())) == len(named)


@pytest.mark.parametrize("source", ["titles", "random", "imported"])
def test_a_training_keeps_its_rule_and_index_goes_on_with_it(
    source: IdSource, make_job: MakeJob, tmp_path: Path
) -> None:
    """Prevents a generator that takes part after all, and new items named by one that has learned nothing."""
    file = tmp_path / "ids.tsv"
    job = make_job(ids=source, imported_ids="ids.tsv" if source == "imported" else None)
    catalogue = pq.read_table(job.items_clean)
    titles = [text.removeprefix("title: ") for text in catalogue["text"].to_pylist()]
    file.write_text("item_id\twords\n" + "".join(f"{i}\tnumber {i}\n" for i in catalogue["item_id"].to_pylist()))
    pq.write_table(catalogue.append_column("title", pa.array(titles)), job.items_clean)
    train(replace(job, imported_ids=file if source == "imported" else None), Progress())
    pair = Pair.load(job.out)
    log = [json.loads(line) for line in (job.out / "training_log.jsonl").read_text().splitlines()]
    assert {row["phase"] for row in log if row["event"] == "epoch"} == {"recommender"}
    assert pair.facts["train"]["ids"] == source and len(pair.table) == 24

    new = pa.table({"item_id": ["new"], "text": ["title: golden soap"], "title": ["golden soap"]})
    pq.write_table(pa.concat_tables([pq.read_table(job.items_clean), new]), job.items_clean)
    with file.open("a") as stream:
        stream.write("new\tnumber black\n")
    table, report = index_given(job.out, job.items_clean, job.index, file)
    assert (report["kept"], report["written"], report["churn"]) == (24, 1, 0.0)
    assert {item: table.words[row] for item, row in table.row_of.items() if item != "new"} == dict(
        zip(pair.table.item_ids, pair.table.words, strict=True)
    )
    named = table.words[table.row_of["new"]]
    assert named == {"titles": "golden soap", "imported": "number black"}.get(source, named)
    fresh, again = index_given(job.out, job.items_clean, replace(job.index, stable=False), file)
    assert again["kept"] == 0 and isinstance(fresh, IdTable)
    assert read_json(job.out / "pair.json")["table_digest"] == pair.table.digest()


def test_a_trimmed_vocabulary_can_write_the_titles(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents titles that are no part of the item text (`clean.text_fields`) from being spelt, and cut, in letters."""
    job, read = make_job(ids="titles"), list[str]()
    catalogue = pq.read_table(job.items_clean)
    titles = [None, *(f"Wrapped {number}" for number in range(1, len(catalogue)))]
    pq.write_table(catalogue.append_column("title", pa.array(titles)), job.items_clean)

    def trim(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], **settings: object) -> None:
        read.extend(texts)

    monkeypatch.setattr("components.training.models.fresh.trim_tokenizer", trim)
    tokenizer_of(job, dataset.load(job), Ranks())
    assert set(titles[1:]) < set(read)


def test_a_catalogue_without_titles_is_refused(make_job: MakeJob) -> None:
    """Prevents a traceback of the Parquet reader, or empty titles that make every ID a number."""
    with pytest.raises(BadInput, match="title"):
        train(make_job(ids="titles"), Progress())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ids": "imported"}, "must name a table"),
        ({"ids": "titles", "imported_ids": "x.tsv"}, "would not be read"),
        ({"ids": "names"}, "train.ids"),
    ],
)
def test_a_source_that_contradicts_itself_is_refused(settings: dict[str, str], said: str) -> None:
    """Prevents a file that is named and silently not read."""
    with pytest.raises(BadInput, match=said):
        from_dict({"train": settings})

"""Every real catalogue goes in whole, by what `idiom init` says, and none is refused that is sound."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from components.data.ingest.ingest import ingest
from components.data.ingest.sniff import suggest
from components.data.validate.validate import validate
from components.settings.file import from_dict
from components.storage.layout import Layout
from tests.conftest import SHARED_DATA

pytestmark = [pytest.mark.real, pytest.mark.slow]
NAMES = sorted(folder.name for folder in SHARED_DATA.iterdir() if folder.is_dir()) if SHARED_DATA.is_dir() else ["all"]


@pytest.fixture(params=NAMES)
def folder(request: pytest.FixtureRequest, shared_data: Path) -> Path:
    return shared_data / str(request.param)


def test_a_catalogue_goes_in_whole(folder: Path, tmp_path: Path) -> None:
    """Prevents: a check against damage that refuses sound data, a row that is lost, and an order that is another's."""
    params = from_dict(suggest(folder)["params"])
    layout = Layout(tmp_path, params.dataset)
    report = ingest(params.ingest, folder, layout)
    told = pl.read_csv(folder / "interactions.tsv.gz", separator="\t", quote_char=None, infer_schema=False)
    told = told.sort("user_id", pl.col("pos").cast(pl.Int64), maintain_order=True)
    found = pl.read_parquet(layout.interactions, columns=["user_id", "item_id", "timestamp"])
    assert found.select("user_id", "item_id").equals(told.select("user_id", "item_id"))
    given = told["timestamp"].cast(pl.Float64, strict=False)
    assert found["timestamp"].is_null().equals(given.is_null())
    assert (found["timestamp"].dt.epoch("s") == given.cast(pl.Int64)).drop_nulls().all()
    with gzip.open(folder / "items.jsonl.gz") as stream:
        assert report["conservation"]["items"]["records"] == sum(1 for line in stream if line.strip())
    # What others did, triples that come twice and pictures of no item are set aside and said (docs/views.md);
    # nothing else is.
    aside = ("records of the relations are set aside", "of no item of the catalogue")
    assert [line for line in report["in_words"] if not any(words in line for words in aside)] == []


def test_sessions_that_share_a_time_pass_the_checks(shared_data: Path, tmp_path: Path) -> None:
    """Prevents: visits to a restaurant's page twice in a session taken for a table that was exported twice."""
    params = from_dict(suggest(shared_data / "entree-restaurants")["params"])
    layout = Layout(tmp_path, params.dataset)
    ingest(params.ingest, shared_data / "entree-restaurants", layout)
    verdict = validate(params.validate, layout)
    observed = {check["name"]: check["observed"] for check in verdict["checks"]}
    assert verdict["passed"] and observed["no_interaction_in_two_splits"] < 0.01
    assert 0.1 < observed["target_not_in_history"] < 0.2

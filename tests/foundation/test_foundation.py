"""The foundation ranker: what a tier may know, what it becomes in a shop, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from components.errors import BadInput
from components.foundation.catalogue import Readers
from components.foundation.foundation import Foundation, all_features
from components.foundation.teaching import Lesson, prepared
from components.foundation.tiers import ABSENT, GROUPS, TIERS, Tier, group_of
from components.ranking.hybrid import Hybrid
from components.ranking.lists import Lists
from components.storage.manifest import write_manifest
from components.storage.ragged import Ragged
from components.voices.learned import Learned
from tests.foundation.conftest import Done
from tests.ranking.shops import shop


@pytest.fixture(scope="module")
def foundation(done: Done) -> Foundation:
    return Foundation.load(done.foundation)


@pytest.mark.parametrize("tier", TIERS)
def test_a_shops_ranker_says_what_the_network_says(foundation: Foundation, tier: Tier) -> None:
    """Prevents flags, missing groups or a shop's measure that are lost when the first layer is folded; beside the slow
    way, in which all features and flags are there. A constant of a user changes no order."""
    learned, held = shop(users=40)
    readers = Readers.build(replace(learned, texts={**learned.texts, "brand": [None] * 40}), foundation.chosen, core=3)
    reader, standard = readers.readers[tier], readers.standards[tier]
    assert "brand" not in standard.present and not standard.present & ABSENT[tier]
    lists = Lists.read(reader, held)
    measured = standard.measured_by(foundation.text_measure) if tier == "text_only" else standard
    lists = replace(lists, own=np.zeros_like(lists.own))
    slow = prepared(lists, measured, foundation.chosen)
    found = foundation.ranker(tier, reader, standard).scores(lists.columns)
    with torch.inference_mode():
        expected = np.mean([each.scores(slow.columns) for each in foundation.networks], axis=0)
    assert found == pytest.approx(expected, abs=0.02)  # the slow way rounds what is standardised to half floats
    assert np.ptp(found) > 0.1


def test_text_alone_hears_no_history_of_others(foundation: Foundation) -> None:
    """Prevents: a tier that says it knows texts alone and reads counts, links, or the measure of other histories."""
    learned, held = shop(users=60)
    nobody = replace(learned, histories=Ragged.of([]), known_days=np.zeros(0))

    def scores(of: Learned, tier: Tier) -> np.ndarray:
        readers = Readers.build(of, foundation.chosen, core=3, tiers=(tier,))
        present = readers.standards[tier].present - {"own times"}
        standard = replace(readers.standards[tier], present=present)
        ranker = foundation.ranker(tier, readers.readers[tier], standard)
        hybrid = Hybrid.of(ranker, readers.readers[tier], of.catalogue, readers.voices)
        return hybrid.scores(held.histories, held.days)

    assert np.array_equal(scores(learned, "text_only"), scores(nobody, "text_only"))
    assert not np.array_equal(scores(learned, "stream"), scores(learned, "text_only"))


def test_every_feature_is_in_a_group_that_can_be_missing_or_in_one_that_is_always_there(foundation: Foundation) -> None:
    """Prevents: a new feature of the ranker that a tier knows without anybody having said so."""
    groups = {group_of(each) for each in all_features(foundation.chosen)}
    assert groups == {*GROUPS, "text", "history"}
    names = {each.name: group_of(each) for each in all_features(foundation.chosen)}
    assert names["graph.share"] == "graph" and names["count"] == "popularity" and names["brand.last"] == "brand"
    assert "taken" not in names


def test_a_list_holds_nothing_that_the_user_has(foundation: Foundation) -> None:
    """Prevents: a ranker that learns, from sources where nobody takes an item twice, that it is never right."""
    learned, held = shop(users=40)
    readers = Readers.build(learned, foundation.chosen, core=3)
    lists = Lists.read(readers.readers["stream"], held)
    assert lists.own.any()
    lesson = Lesson("shop", "stream", lists, readers.standards["stream"])
    kept = prepared(lesson.lists, lesson.standard, foundation.chosen)
    hits = ~lists.own[lists.offsets[:-1] + lists.right]
    assert len(kept) == hits.sum() and not kept.own.any()
    owned = np.repeat(hits, lists.lengths)
    assert len(kept.columns) == (owned & ~lists.own).sum()


def test_what_is_no_foundation_is_refused(done: Done, tmp_path: Path) -> None:
    """Prevents: weights that are read beside other features than they were taught with."""
    copied = tmp_path / "foundation"
    shutil.copytree(done.foundation, copied)
    (copied / "foundation.safetensors").write_bytes(b"half")
    with pytest.raises(BadInput, match="SHA-256"):
        Foundation.load(copied)
    with pytest.raises(BadInput, match="no foundation ranker"):
        Foundation.load(done.out / "recommender")
    facts = json.loads((done.foundation / "foundation.json").read_text())
    del facts["reads"]  # as one of before popularity was clipped at the core
    older = tmp_path / "older"
    shutil.copytree(done.foundation, older, ignore=shutil.ignore_patterns("manifest.json"))
    (older / "foundation.json").write_text(json.dumps(facts))
    write_manifest(older, kind="foundation")
    with pytest.raises(BadInput, match="other features"):
        Foundation.load(older)
    assert set(facts["lists"]) == {"alpha", "beta"} and facts["lists"]["alpha"]["stream"] > 0

"""What a training goes on from (`train.start`): a trained pair or a bundle, and how much of the histories it knows.

    start = Start.read(job)                                  # None where it begins from the beginning
    start.table, start.known(users, histories, items)        # IDs that stand; what the recommender has learned

Tokenizer, generator, prompts and weights are the pair's own (`models/fresh.py`), so settings that ask for others are
refused. Whoever adapts a model to another shop (`train.start_elsewhere`) starts in the same way: none of its items has
an ID, and all is new, whatever ids the two shops share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.errors import BadInput
from components.recommender.catalogue import ID_TABLE
from components.recommender.item_views import FOLDER as VIEWS
from components.recommender.pair import FACTS, PROMPTS
from components.recommender.prompts.neighbours import reads
from components.recommender.prompts.phrasings import Prompts
from components.settings.sizes import parse_size
from components.settings.train import Train
from components.storage.artifacts import read_json
from components.storage.manifest import sha256, verify_manifest
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.training.job import Job
from components.training.key import start_manifest
from components.training.packed import taught
from components.training.packed.taught import Known, Marks

MOST_SHORTER = 0.01
"""Share of the users of both whose history may have fewer items than the pair was taught, beside items that left the
catalogue: single events. More are data of an earlier day, of which the pair knows what is to be predicted."""
_SAME = ("family", "backbone", "generator_backbone", "ids", "user_id")
_SAME_FROM_SCRATCH = ("size", "vocabulary_size", "dropout")
"""Settings that a pair cannot take over from params.yaml, as its weights or its IDs say them."""


@dataclass(frozen=True)
class Start:
    """A pair whose training goes on."""

    folder: Path
    facts: dict[str, Any]
    """Its pair.json."""
    digest: str
    """SHA-256 of its manifest: of a bundle, what it is registered under."""
    table: IdTable
    prompts: Prompts
    taught: pa.Table | None
    """None: the pair is from before this was kept, or of another shop."""
    taught_by: tuple[str, ...] = ()
    """Names of the catalogues that it was taught, where it is of another shop."""

    @classmethod
    def read(cls, job: Job) -> Start | None:
        """The pair that `train.start` names. Raises `BadInput` where it is none, or settings ask for another model."""
        folder = job.goes_on_from
        if folder is None:
            return None
        manifest = start_manifest(folder)
        verify_manifest(folder)
        facts = read_json(folder / FACTS)
        if (folder / VIEWS).is_dir():
            what, mend = "it reads views of items, and no training goes on from that", "set train.start to null"
            raise BadInput(what, where=str(folder), mend=mend)
        prompts = Prompts.load(folder / PROMPTS)
        _refuse_another(job.train, facts, folder)
        _refuse_soft_prompt(job.train, prompts, folder)
        elsewhere = job.train.start_elsewhere
        return cls(
            folder=folder,
            facts=facts,
            digest=sha256(manifest),
            table=IdTable((), (), ()) if elsewhere else IdTable.load(folder / ID_TABLE),
            prompts=prompts,
            taught=None if elsewhere else taught.read(folder),
            taught_by=taught_by(facts, read_json(manifest)) if elsewhere else (),
        )

    def known(self, users: Marks, histories: Ragged, items: Marks) -> Known:
        """What it knows of some histories: marks of their users, item numbers, marks of the catalogue's items.

        Raises `BadInput` where it was taught more than they hold.
        """
        if self.taught is None:
            return Known.nothing(histories)
        deleted = np.setdiff1d(taught.item_marks(self.table.item_ids), items)
        known = Known.of(self.taught, users, histories, items, deleted)
        both = len(users) - known.counts["new"]
        if known.untold > max(1, MOST_SHORTER * both):
            raise BadInput(
                f"{known.untold} of {both} users have shorter histories here than the pair was taught, not for want "
                "of deleted items: it was trained on later data than these, and may know what is to be predicted",
                where=f"train.start: {self.folder}",
                mend="start from a bundle of earlier data, or from the beginning (train.start: null)",
            )
        return known

    def said(self) -> dict[str, Any]:
        """What the new pair says of its origin."""
        before = self.facts.get("start") or {}
        return {
            "sha256": self.digest,
            "train_key": self.facts.get("train_key"),
            "generation": before.get("generation", 0) + 1,
            **({"taught_by": list(self.taught_by)} if self.taught_by else {}),
        }


def taught_by(facts: Mapping[str, Any], manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the catalogues that a pair was taught, the oldest first, by its pair.json and its manifest."""
    own = manifest.get("dataset")
    before = (facts.get("start") or {}).get("taught_by", [])
    return tuple(dict.fromkeys([*before, *(facts.get("catalogues") or ([own] if own else []))]))


def _refuse_another(train: Train, facts: dict[str, Any], folder: Path) -> None:
    theirs = facts.get("train", {})
    names = [*_SAME, *(_SAME_FROM_SCRATCH if train.backbone == "scratch" else ())]
    for name in names:
        own, other = getattr(train, name), theirs.get(name)
        if name in theirs and _value(name, own) != _value(name, other):
            raise BadInput(
                f"train.{name} is {own!r}, and the pair that the training goes on from has {other!r}",
                where=f"params.yaml and train.start: {folder}",
                mend=f"set train.{name} to {other!r}, or begin anew (train.start: null)",
            )
    if bool(train.neighbours.voice) != reads(facts):
        raise BadInput(
            f"train.neighbours.voice is {train.neighbours.voice!r}, and the pair that the training goes on from reads "
            f"{'words of' if reads(facts) else 'no'} neighbours",
            where=f"params.yaml and train.start: {folder}",
            mend="set it to that pair's (its pair.json), or begin anew (train.start: null)",
        )
    if facts.get("refit") and not train.refit and not train.start_elsewhere:
        raise BadInput(
            "train.refit is false, and the pair that the training goes on from was taught validation items: it would "
            "be reported as if it had not been",
            where=f"params.yaml and train.start: {folder}",
            mend="set train.refit to true, or begin anew (train.start: null)",
        )


def _refuse_soft_prompt(train: Train, prompts: Prompts, folder: Path) -> None:
    if prompts.soft and prompts.soft != train.soft_prompt:
        raise BadInput(
            f"train.soft_prompt is {train.soft_prompt}, and the pair that the training goes on from reads a soft "
            f"prompt of {prompts.soft} vectors",
            where=f"params.yaml and train.start: {folder}",
            mend=f"set train.soft_prompt to {prompts.soft}, or start from the pair that it was adapted from",
        )


def _value(name: str, value: Any) -> Any:
    return parse_size(value) if name == "size" else value

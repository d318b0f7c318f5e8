"""Every knob of Idiom as frozen, typed settings: one class per section, one docstring per knob.

    params = Params(index=Index(max_tokens=8))
    to_dict(params.index)                      # {"max_tokens": 8, ...}

The largest section, `train`, is `train.py`; what `evaluate` shares with serving is `decoding.py`; what is decided
outside the graph is `operating.py`. `file.load` reads them all from `params.yaml`. They are plain dataclasses that need
the standard library alone, as the learning rooms use them on machines without pydantic and yaml; what is out of bounds
is a `ValueError`.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from components.settings.bounds import MOST_BEAMS, Section, bounded, inside
from components.settings.decoding import Decoding
from components.settings.operating import Drops, Monitor, Promote
from components.settings.ranking import Rank
from components.settings.train import Train
from components.settings.views import Media, Views, check_names
from components.settings.voices import Voices

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CATALOGUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_NO_MODEL_NAME = set("/:.%\"'")
"""What MLflow refuses in the name of a model, after all the training; so it is refused here."""

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")

Format = Literal["demo", "p5", "recbole", "movielens", "amazon", "table"]
"""Names of the modules in components/data/ingest/readers, in the order in which `idiom init` tries them."""
Quoting = Literal["rfc4180", "backslash", "unquoted"]
QUOTINGS: tuple[Quoting, ...] = ("rfc4180", "backslash", "unquoted")


@dataclass(frozen=True)
class Ingest(Section):
    """Raw files in any supported format -> canonical tables."""

    format: Format = "demo"
    """Layout of the raw files; `idiom init PATH` finds it out."""
    path: str = "data/demo"
    """Folder of the raw files, relative to the workspace."""
    items: str | list[str] | None = None
    """The item table within `path`: a file, several (a list, a pattern `items-*.csv`, a folder) that are read as one,
    or null: the usual names of the format."""
    interactions: str | list[str] | None = None
    """The interaction table within `path`, likewise."""
    columns: dict[str, str] = field(default_factory=dict)
    """Canonical column -> column in the raw file, where they differ: `{user_id: uid, timestamp: ts}`."""
    quoting: dict[str, Quoting] = field(default_factory=dict)
    """Table (`items`, `interactions`) -> how its fields are quoted. `rfc4180` (the usual one with commas): "a ""b"" c";
    `backslash`: "a \\"b\\" c"; `unquoted` (the usual one with tabs): a quote is a character like any other."""
    list_separator: str | None = None
    """Splits a list column that comes as one string (`categories` as "A,B,C"); null leaves such a string whole."""
    min_rating: float | None = None
    """Keep interactions with at least this rating (null: all)."""
    events: list[str] | dict[str, float] | None = None
    """Kinds of the column `event` to keep: `[purchase]`; or with weights, `{purchase: 1, addtocart: 0.3}`, which become
    the column `weight` (null: all kinds, alike)."""
    order: Literal["data", "file"] = "data"
    """What the order of a history may rest on. data: the position or time of each interaction. file: where there is
    neither, the order of the rows in the file; without your word that order means nothing and is refused."""
    relations: str | list[str] | None = None
    """A table `head, relation, tail` within `path`, named like `items`; the head is an item id (null: none)."""
    relation_types: list[str] | None = None
    """Relations to keep (null: all but those that tell what others did, such as `also_bought`; docs/views.md)."""
    media: dict[str, Media] = field(default_factory=dict)
    """Name of a view -> its pictures, sounds, vectors or labels (components/settings/views.py)."""
    until: str | None = None
    """Last day that counts, ISO date UTC (null: all): later interactions are left out, as if it were that day."""
    max_set_aside_share: float = bounded(0.001, low=0.0, high=1.0)
    """Largest accepted share of raw records that say nothing (no id, no order) and are set aside; what you ask for
    yourself (`min_rating`, `events`) is not counted. More is refused, by `ingest` and by `validate`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        inside(self.path, key="ingest.path")
        if self.until is not None:
            date.fromisoformat(self.until)
        check_names(self.media)
        for key in ("items", "interactions", "relations"):
            given = getattr(self, key)
            if given == []:
                raise ValueError(f"{key} is an empty list; name a file, or leave it out")
            for name in [given] if isinstance(given, str) else given or []:
                inside(name, key=f"ingest.{key}")
        if wrong := sorted(set(self.quoting) - {"items", "interactions", "relations"}):
            raise ValueError(f"quoting names {wrong[0]!r}; it is said of the tables items, interactions and relations")
        if self.events is not None and not self.events:
            raise ValueError("events is empty, which keeps nothing; name kinds, or leave it out")
        if isinstance(self.events, dict) and min(self.events.values()) <= 0:
            raise ValueError("events: a weight is above 0; leave out the kinds that do not count")


Severity = Literal["critical", "warning", "info"]
Ties = Literal["file", "shuffle", "set"]
OTHER_TIES: dict[Ties, Ties] = {"file": "shuffle", "shuffle": "file", "set": "file"}
"""Order of ties of the headline -> the one that is reported beside it."""


@dataclass(frozen=True)
class Validate(Section):
    """Great Expectations over the canonical tables; a critical failure stops the graph."""

    severities: dict[str, Severity] = field(default_factory=dict)
    """Check name -> severity, where it should differ from the built-in one (listed in docs/checks.md)."""
    min_users: int = bounded(2, low=1)
    """Fewer users than this is a critical failure: nothing can be learned or compared."""
    min_items: int = bounded(2, low=1)
    """Fewer items than this is a critical failure."""
    max_cold_target_share: float = bounded(0.2, low=0.0, high=1.0)
    """Largest accepted share of last items that occur in no other user's earlier history."""
    max_tie_share: float = bounded(0.5, low=0.0, high=1.0)
    """Largest accepted share of users whose last two items have the same time, so that their order is arbitrary."""
    max_missing_text_share: float = bounded(0.05, low=0.0, high=1.0)
    """Largest accepted share of interacted items that have no text at all."""
    max_missing_view_share: float = bounded(0.5, low=0.0, high=1.0)
    """Largest accepted share of interacted items without a picture, a relation, a vector of a view that is named."""
    max_hub_share: float = bounded(0.5, low=0.0, high=1.0)
    """Largest accepted share of the items with a relation that have one and the same tail."""


@dataclass(frozen=True)
class Clean(Section):
    """Canonical tables -> clean item texts, histories and targets."""

    text_fields: list[str] = field(default_factory=lambda: ["title", "brand", "categories", "description"])
    """Item columns that make the item text, in this order; empty ones are left out. Of the default ones those
    count that the items have; in any other list a column that they lack is refused."""
    text_template: str = "{field}: {value}"
    """How one field enters the item text; fields are joined by ", ". `{value}` alone drops the labels."""
    max_field_chars: int = bounded(300, low=1)
    """A longer field is cut at the last word that fits (characters)."""
    max_text_chars: int = bounded(600, low=1)
    """The whole item text is cut likewise (characters)."""
    boilerplate_share: float = bounded(0.3, low=0.0, high=1.0)
    """A sentence of the descriptions that stands in at least this share of them is dropped; 1 keeps all."""
    merge_duplicates: bool = True
    """Merge items that are the same in all their text into the smallest id; their interactions follow."""
    drop_repeats: bool = True
    """Do people take an item once? true: of a user's interactions with one item the first is kept, and only new items
    are recommended. false, where people buy again: all are kept, and validation, headline, scored and served lists may
    hold what the user has (unless `evaluate.mask_seen` says otherwise)."""
    min_user_interactions: int = bounded(5, low=3)
    """k-core, users: at least 3, one each for training, validation and test."""
    min_item_interactions: int = bounded(5, low=1)
    """k-core, items; repeated with the users until nothing changes."""
    sample_users: int = bounded(0, low=0)
    """Keep this many users, chosen by a hash of seed and user id, with every item they touch (0: all)."""
    ties: Ties = "file"
    """What the order of interactions at the same time is. file: that of the file, as in the papers; often it is the
    order of the item ids, and then a model is paid for it (docs/ties.md). shuffle: drawn by seed, user and item text.
    set: unknown; a target is any item of the last time, and the prompt holds what is strictly earlier."""
    core: Literal["all", "training"] = "all"
    """What the k-core counts. all: every interaction, as in the papers; then an item with few in training must be
    somebody's target. training: those of the training part; a target outside the core is set aside."""
    split: Literal["leave-one-out", "global-time"] = "leave-one-out"
    """leave-one-out: last item = test, the one before = validation. global-time: by the two dates below."""
    valid_from: str | None = None
    """global-time: first day of validation, ISO date UTC (null: the day at 80 % of the interactions)."""
    test_from: str | None = None
    """global-time: first day of test, ISO date UTC (null: the day at 90 % of the interactions)."""


@dataclass(frozen=True)
class Index(Section):
    """How the generator's words become a table of unique IDs, in every round of `train` and in `index`."""

    faithful: bool = True
    """Only words of an item's own text are written into its ID, among them one that sets it apart from its near twins
    (60 ml, not 250 ml). false: any words, those of others' texts too."""

    max_tokens: int = bounded(10, low=1)
    """Longest ID (tokens, the end token not counted)."""
    candidates: int = bounded(8, low=1)
    """Candidates proposed per item."""
    groups: int = bounded(4, low=1)
    """Groups of the diverse beam search; must divide `candidates`."""
    diversity_penalty: float = bounded(1.0, low=0.0)
    """What a token costs in a group for each beam of an earlier group that took it in the same step (nats)."""
    retries: int = bounded(3, low=0)
    """Times the left-over items are asked again: higher penalty first, then longer IDs."""
    batch_items: int = bounded(64, low=1)
    """Items generated for at a time."""
    stable: bool = True
    """Items with an ID in the pair's table keep it: the recommender was trained on that one. false asks for new
    IDs; `evaluate` and `register` refuse them where they are others than those, unless the pair is trained again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.candidates % self.groups:
            raise ValueError(f"groups is {self.groups}, which does not divide candidates = {self.candidates}")


@dataclass(frozen=True)
class Evaluate(Decoding):
    """The one look at the test set, decoded as the inherited settings say; `mask_seen` decides which figures are the
    headline, and the other variant is reported beside it. null, the default, follows `clean.drop_repeats`: where people
    buy again, masked lists hold none of the right answers."""

    ks: list[int] = field(default_factory=lambda: [5, 10, 20])
    """Cut-offs of recall@k and NDCG@k."""
    max_users: int = bounded(0, low=0)
    """Evaluate this many users, chosen by a hash (0: all)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.ks or min(self.ks) < 1 or max(self.ks) > MOST_BEAMS:
            raise ValueError(f"ks is {self.ks}; give at least one cut-off, of 1 to {MOST_BEAMS}")
        if self.beams < max(self.ks):
            raise ValueError(
                f"beams is {self.beams} and ks asks for {max(self.ks)} items, which takes as many beams; "
                f"set beams to {max(self.ks)} or more, or ks to cut-offs up to {self.beams}"
            )


@dataclass(frozen=True)
class Register(Section):
    """MLflow."""

    model_name: str = "idiom"
    """Name of the registered model."""
    experiment: str | None = None
    """MLflow experiment (null: the name of the dataset)."""
    wait_seconds: float = bounded(120.0, low=0.0, high=600.0)
    """How long a store that is locked or silent is asked again, at growing intervals, before `register` gives up."""
    language: str = "en"
    """Of the sentences beside answers: a file of components/registry/languages."""
    reasons: bool = True
    """Whether answers say why. What costs: two to three times what ranking the same users does (docs/ranking.md)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _LANGUAGE.fullmatch(self.language):
            raise ValueError(f"language is {self.language!r}; give a code such as en")
        if not self.model_name.strip() or _NO_MODEL_NAME & set(self.model_name):
            raise ValueError(
                f"model_name is {self.model_name!r}; a name without any of {' '.join(sorted(_NO_MODEL_NAME))}"
            )
        if self.experiment is not None:
            # Its artifacts lie in a folder of this name, where the store is the workspace's own.
            inside(self.experiment, key="register.experiment")


@dataclass(frozen=True)
class Catalogue(Section):
    """A further catalogue that the one model learns together with the first, which the other sections describe
    (docs/catalogues.md). What is not here is the same for all."""

    ingest: Ingest = field(default_factory=Ingest)
    """Its raw files, like the section `ingest`; `path` must be said, as dvc.yaml reads it."""
    validate: Validate = field(default_factory=Validate)
    """Like the section `validate`."""
    clean: Clean = field(default_factory=Clean)
    """Like the section `clean`, and with defaults of its own: nothing comes from there."""
    weight: float = bounded(1.0, low=0.0, high=1000.0)
    """Times which it is drawn as often as its size says: the samples of an epoch are shared out by weight x square root
    of size. The first catalogue has the weight 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight == 0:
            raise ValueError("weight is 0, so that nothing would be learned from it; leave the catalogue out")


@dataclass(frozen=True)
class Params(Section):
    """All of `params.yaml`."""

    dataset: str = "demo"
    """Name of the dataset: its artifacts lie under artifacts/NAME."""
    seed: int = bounded(17, low=0)
    """The one seed of everything that draws."""
    ingest: Ingest = field(default_factory=Ingest)
    validate: Validate = field(default_factory=Validate)
    views: Views = field(default_factory=Views)
    clean: Clean = field(default_factory=Clean)
    train: Train = field(default_factory=Train)
    index: Index = field(default_factory=Index)
    evaluate: Evaluate = field(default_factory=Evaluate)
    register: Register = field(default_factory=Register)
    voices: Voices = field(default_factory=Voices)
    rank: Rank = field(default_factory=Rank)
    promote: Promote = field(default_factory=Promote)
    drops: Drops = field(default_factory=Drops)
    monitor: Monitor = field(default_factory=Monitor)
    catalogues: dict[str, Catalogue] = field(default_factory=dict)
    """Name -> a further catalogue of the same model; none where there is one shop. Its artifacts lie under
    artifacts/NAME, as `dataset` names those of the first."""

    def of(self, catalogue: str) -> Params:
        """The settings of one catalogue alone: those of the further one of this name in place of the first one's."""
        own = self.catalogues[catalogue]
        return dataclasses.replace(
            self, dataset=catalogue, ingest=own.ingest, validate=own.validate, clean=own.clean, catalogues={}
        )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.catalogues:
            self._check_catalogues()
        if self.train.recommender.loss == "trie" and self.evaluate.scores == "vocabulary":
            raise ValueError(
                "train.recommender.loss is trie and evaluate.scores is vocabulary: such a model has not learnt which "
                "tokens are legal; set evaluate.scores to trie, or the loss to vocabulary"
            )
        if not _NAME.fullmatch(self.dataset):
            raise ValueError(
                f"dataset is {self.dataset!r}; it names a folder under artifacts/: "
                "letters, digits, '.', '_' and '-' only, at most 100"
            )

    def _check_catalogues(self) -> None:
        """Names that DVC and the training can tell apart, and settings that several catalogues can share."""
        for name in self.catalogues:
            if not _CATALOGUE.fullmatch(name):
                raise ValueError(
                    f"a catalogue is called {name!r}; it names a folder and stages of DVC: letters, digits, '_' and "
                    "'-' only, at most 100"
                )
            if name == self.dataset:
                raise ValueError(f"a further catalogue is called {name}, as the first one is (dataset); rename one")
        for key, wrong in {
            "train.start": self.train.start is not None,
            "train.user_id": self.train.user_id,
            "train.imported_ids": self.train.imported_ids is not None,
            "train.views": bool(self.train.views),
            "train.distil.voice": bool(self.train.distil.voice),
            "train.neighbours.voice": bool(self.train.neighbours.voice),
        }.items():
            if wrong:
                raise ValueError(f"{key} is set, and there are several catalogues, which it cannot serve; leave it out")


def to_dict(section: Any) -> dict[str, Any]:
    """Plain nested dict of a section, for JSON files, hashes and MLflow."""
    return dataclasses.asdict(section)

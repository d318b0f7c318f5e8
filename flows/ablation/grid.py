"""A grid of trainings: named variants (parameters that differ from the base) times seeds.

    base:                                  # parameters, defaults where one is missing; without it: the workspace's
      train: {size: micro}
    seeds: [17, 18, 19]
    variants:
      base: {}
      no generator phase: {train.generator.epochs: 0}
      short and hard: {train: {rounds: 1, generator: {soft: false}}}      # or nested, as in params.yaml
      vocabulary scores: {evaluate.scores: vocabulary}

The data are those of the base, made with the base's seed: all variants and seeds share their users. A variant whose
views enter by a door of the language model (`views.words`, `train.views`) has data of its own, made with that seed too.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.errors import BadInput
from components.settings.file import from_dict, load
from components.settings.params import Params, to_dict

SECTIONS = ("train", "index", "evaluate", "views", "rank")
"""What a variant may change; the last two where the base has views, as a grid asks the ranker only then."""

SWITCHES: dict[str, dict[str, Any]] = {
    "base": {},
    "no generator phase": {"train.generator.epochs": 0},
    "hard instead of soft IDs": {"train.generator.soft": False},
    "one round": {"train.rounds": 1},
    "any words in IDs": {"index.faithful": False},
    "user ID": {"train.user_id": True},
    "loss over the trie": {"train.recommender.loss": "trie", "evaluate.scores": "trie"},
    "vocabulary scores": {"evaluate.scores": "vocabulary", "train.recommender.loss": "vocabulary"},
    "titles as IDs": {"train.ids": "titles", "train.imported_ids": None},
    "random words as IDs": {"train.ids": "random", "train.imported_ids": None},
}
"""The built-in grid: one ingredient off at a time. Seen items masked or not: both are columns of every row."""
_REFERENCE = "reference_ids.tsv.gz"


@dataclass(frozen=True)
class Cell:
    """One training and its evaluation."""

    variant: str
    seed: int
    params: Params

    @property
    def title(self) -> str:
        return f"{self.variant}, seed {self.seed}"

    @property
    def has_door(self) -> bool:
        """Whether the language model reads views: words of them in the texts, or vectors in its prompts."""
        return bool(self.params.views.words or self.params.train.views)


@dataclass(frozen=True)
class Grid:
    """Variants and seeds to be compared; the first variant is the base of all comparisons."""

    name: str
    base: Params
    seeds: tuple[int, ...]
    variants: dict[str, dict[str, Any]]

    def cells(self) -> list[Cell]:
        """All cells, seed by seed, so that a grid that was stopped early has compared something. Raises `BadInput`."""
        self.refuse_several()
        checked = {name: self._params(name) for name in self.variants}
        return [Cell(name, seed, replace(params, seed=seed)) for seed in self.seeds for name, params in checked.items()]

    def refuse_several(self) -> None:
        """Raises `BadInput` for a base with further catalogues, whose stages a grid has not."""
        if self.base.catalogues:
            named = ", ".join(self.base.catalogues)
            mend = "take them out of the grid's base, or out of params.yaml of a copy of the workspace"
            raise BadInput(
                f"a grid is of one catalogue, and there is {named} too", where=f"grid {self.name}", mend=mend
            )

    def _params(self, variant: str) -> Params:
        raw = to_dict(self.base)
        for key, value in self.variants[variant].items():
            *sections, last = key.split(".")
            place: Any = raw
            for section in sections:
                place = place.setdefault(section, {}) if isinstance(place, dict) else None
            if not isinstance(place, dict) or sections[:1] not in [[name] for name in SECTIONS]:
                raise self._wrong(variant, f"{key} cannot differ", f"a variant changes {', '.join(SECTIONS)}")
            place[last] = copy.deepcopy(value)
        params = from_dict(raw, where=f"grid {self.name}, variant {variant!r}")
        if not has_views(self.base):
            mend = "set ingest.relations or ingest.media in the base; without views a grid asks no ranker"
            if Cell(variant, params.seed, params).has_door:
                raise self._wrong(variant, "views.words or train.views names views, and the base has no views", mend)
            if (params.views, params.rank) != (self.base.views, self.base.rank):
                raise self._wrong(variant, "views or rank differ, and the base has no views", mend)
        if params.evaluate.ks != self.base.evaluate.ks or params.train.refit != self.base.train.refit:
            raise self._wrong(variant, "evaluate.ks or train.refit differs from the base's", "set it in the base")
        return params

    def _wrong(self, variant: str, what: str, mend: str) -> BadInput:
        return BadInput(what, where=f"grid {self.name}, variant {variant!r}", mend=mend)


def has_views(params: Params) -> bool:
    """Whether the raw data have relations or media, so that a grid asks the ranker too."""
    return params.ingest.relations is not None or bool(params.ingest.media)


def read_grid(path: Path | None, workspace: Path) -> Grid:
    """The grid of a file, or the built-in one over the workspace's params.yaml. Raises `BadInput` for what is none."""
    if path is None:
        return built_in(load(workspace / "params.yaml"), workspace)
    raw = _yaml(path)
    if unknown := set(raw) - {"base", "seeds", "variants"}:
        raise _broken(path, f"unknown keys: {', '.join(sorted(map(str, unknown)))}")
    base = from_dict(raw["base"], where=f"{path}, base") if "base" in raw else load(workspace / "params.yaml")
    seeds, variants = raw.get("seeds", [base.seed]), raw.get("variants", built_in(base, workspace).variants)
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise _broken(path, f"seeds is {seeds!r}")
    if len(set(seeds)) < len(seeds):
        raise _broken(path, "a seed stands there twice")
    if not isinstance(variants, dict) or not variants:
        raise _broken(path, "variants is no mapping of names")
    named = {}
    for name, changes in variants.items():
        try:
            named[str(name)] = dict(_dotted(changes or {}))
        except ValueError as error:
            raise _broken(path, f"variant {str(name)!r}: {error}") from error
    return Grid(_slug(path.stem), base, tuple(seeds), named)


def built_in(base: Params, workspace: Path) -> Grid:
    """The built-in grid: every switch that the base allows, three seeds; imported IDs if there is a table."""
    variants = dict(SWITCHES)
    if base.train.family != "encoder-decoder":
        del variants["user ID"]
    table = Path(base.ingest.path) / _REFERENCE
    if (workspace / table).is_file():
        variants["imported IDs"] = {"train.ids": "imported", "train.imported_ids": table.as_posix()}
    return Grid(f"{base.dataset}-switches", base, tuple(base.seed + number for number in range(3)), variants)


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        mend = "name a grid file, or none for the built-in one"
        raise BadInput("there is no such grid", where=str(path), mend=mend) from error
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise _broken(path, f"not readable as YAML: {error}") from error
    if not isinstance(raw, dict):
        raise _broken(path, f"it holds a {type(raw).__name__}, not a mapping")
    return raw


def _broken(path: Path, what: str) -> BadInput:
    return BadInput(what, where=str(path), mend="base, seeds and variants, as in params/ablations-beauty-3000.yaml")


def _dotted(changes: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Changes, dotted or nested or both, as (dotted key, value). Raises `ValueError` for what is no such mapping."""
    if not isinstance(changes, dict) or not all(isinstance(key, str) for key in changes):
        raise ValueError("it is no mapping of parameters")
    found: dict[str, Any] = {}
    for key, value in changes.items():
        name = f"{prefix}{key}"
        inner = dict(_dotted(value, f"{name}.")) if isinstance(value, dict) and value else {name: value}
        if twice := sorted(found.keys() & inner.keys()):
            raise ValueError(f"{twice[0]} stands there twice")
        found |= inner
    yield from found.items()


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "grid"

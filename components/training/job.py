"""What a training is told: paths, settings, seed. A JSON file, so that another process (or machine) can run it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import BadInput
from components.settings.params import Index
from components.settings.train import GeneratorTraining, RecommenderTraining, Train
from components.storage.artifacts import publish_json

_PATHS = ("items_clean", "histories", "valid_targets", "out", "work", "imported_ids")


@dataclass(frozen=True)
class Job:
    """One training. There is no field for the test targets: what a job does not name, its process cannot open."""

    items_clean: Path
    """Parquet: item_id, text."""
    histories: Path
    """Parquet: user_id, history (training interactions, oldest first)."""
    valid_targets: Path
    """Parquet: user_id, context, target."""
    out: Path
    """Directory of the trained pair; published atomically at the end."""
    work: Path
    """Folder for checkpoints, outside DVC's outputs; keyed by the hash of the inputs by whoever makes the job."""
    train: Train
    index: Index
    seed: int
    train_key: str
    """Hash of all inputs; a checkpoint of another key is not used."""
    drop_repeats: bool = True
    """Whether `clean` left each item once in a history; the pair says so to whoever asks it with raw histories."""
    imported_ids: Path | None = None
    """The file that `train.imported_ids` names, as a path that can be opened from here."""

    def save(self, path: Path) -> None:
        """Write the job as JSON, atomically."""
        value = dataclasses.asdict(self)
        publish_json(path, {key: str(value[key]) if isinstance(value[key], Path) else value[key] for key in value})

    @classmethod
    def load(cls, path: Path) -> Job:
        """Read a job. Raises `BadInput` for a missing or broken file, an unknown key or a value out of bounds."""
        try:
            raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            raw["train"] = train_settings(raw["train"])
            raw["index"] = Index(**raw["index"])
            raw |= {key: Path(raw[key]) for key in _PATHS if raw.get(key)}
            return cls(**raw)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BadInput(
                f"not a training job: {error}", where=str(path), mend="write it with Job.save (the stage `train` does)"
            ) from error


def train_settings(raw: dict[str, Any]) -> Train:
    """The section `train` of a params file, read without pydantic, which a bare GPU machine has not."""
    generator = GeneratorTraining(**raw.get("generator", {}))
    recommender = RecommenderTraining(**raw.get("recommender", {}))
    return Train(**{**raw, "generator": generator, "recommender": recommender})

"""Settings of one training: paths, sections of params.yaml, seed; saved as JSON for the process that runs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from components.settings.params import Index
from components.settings.train import Train
from components.storage.artifacts import read_json
from components.storage.job import SavedAsJson

TEACHER, NEIGHBOURS = "teacher", "neighbours"
"""The folders in `work` of what a voice teaches, and of the neighbours that one names."""
ABOUT = "catalogue.json"
"""What a training has to know of a further catalogue, beside its tables."""


@dataclass(frozen=True)
class Taught:
    """What one catalogue teaches: tables as in `Job`, and how much it counts."""

    name: str
    items_clean: Path
    histories: Path
    valid_targets: Path
    weight: float = 1.0
    drop_repeats: bool = True

    @classmethod
    def read(cls, folder: Path) -> Taught:
        """The folder of a further catalogue, named as it is. Raises `BadInput` where its facts are missing."""
        items, histories, targets = (
            folder / f"{name}.parquet" for name in ("items_clean", "histories", "valid_targets")
        )
        return cls(folder.name, items, histories, targets, **read_json(folder / ABOUT))


@dataclass(frozen=True)
class Job(SavedAsJson):
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
    dataset: str = ""
    """Name of the catalogue, where there are further ones."""
    further: list[str] = field(default_factory=list)
    """Folders of further catalogues that the model learns as well (`Taught.read`)."""
    views: Path | None = None
    """The vectors of item views, of which `train.views` names some; None where it names none."""
    start: Path | None = None
    """The pair or bundle that `train.start` names, as a path that can be opened from here."""

    teacher: Path | None = None
    """The folder of what `train.distil.voice` recommends, as `soft_targets.Teacher` writes it."""
    neighbours: Path | None = None
    """The folder of the neighbours that `train.neighbours.voice` names, as `neighbours.Listed` writes it."""

    @property
    def goes_on_from(self) -> Path | None:
        """The folder of the pair that the training goes on from; None where it begins from the beginning."""
        return None if self.train.start is None else self.start or Path(self.train.start)

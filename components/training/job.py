"""Settings of one training: paths, sections of params.yaml, seed; saved as JSON for the process that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from components.settings.params import Index
from components.settings.train import Train
from components.storage.job import SavedAsJson


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
    views: Path | None = None
    """The vectors of item views, of which `train.views` names some; None where it names none."""
    start: Path | None = None
    """The pair or bundle that `train.start` names, as a path that can be opened from here."""

    @property
    def goes_on_from(self) -> Path | None:
        """The folder of the pair that the training goes on from; None where it begins from the beginning."""
        return None if self.train.start is None else self.start or Path(self.train.start)

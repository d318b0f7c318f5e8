"""The key of a training, which names its work folder: a hash of everything that decides the trained weights.

    key = train_key(layout, params)
    work = work_folder(layout, key)              # work/DATASET/KEY: tables, tokenizer, checkpoints
    remove_abandoned(work, note)                 # folders of other keys that nobody came back to

A resumed training finds its own checkpoints there and no others, and its MLflow run is found again by the key. Each
change of inputs, settings or code begins a folder of its own, so that undoing the change finds the old checkpoints.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from components.errors import BadInput
from components.recommender.pair import FACTS
from components.settings.params import Params, to_dict
from components.storage.layout import Layout
from components.storage.manifest import MANIFEST, digest, sha256

LEARNING_ROOMS = ("networks", "textid", "recommender", "training")
"""Folders of `components/` whose code decides the weights; the stage `train` of dvc.yaml depends on the same."""
TEACHERS = "voices"
"""The folder of those that `train.distil` and `train.neighbours` name. The stage does not depend on it: an edit of a
baseline must not cost a training of hours, and whoever edits a voice that is heard forces the stage."""
DAYS = 7
"""Work folders written to in that time are left alone: their training runs, or may be resumed."""
_DIGITS = 16
_FOLDER = re.compile(rf"[0-9a-f]{{{_DIGITS}}}")


def train_key(layout: Layout, params: Params) -> str:
    """SHA-256 (hex) of all that decides the weights: input files, settings and the code of the learning rooms.

    Raises `BadInput` for a file that is missing, or a `train.start` that is no pair.
    """
    rooms = Path(__file__).parents[1]
    heard = params.train.distil.voice or params.train.neighbours.voice
    decides = [*LEARNING_ROOMS, *([TEACHERS] if heard else [])]
    code = {name: [sha256(file) for file in sorted((rooms / name).rglob("*.py"))] for name in decides}
    given = [layout.workspace / params.train.imported_ids] if params.train.imported_ids else []
    # A model of the hub is known by its name, one in a folder by what lies there.
    given += [layout.workspace / name for name in params.train.pretrained if (layout.workspace / name).is_dir()]
    if params.train.word_vectors and params.train.start is None:  # a pair that goes on has its embeddings
        from components.networks.word_vectors import files_of  # with torch, which a command line does without

        given += files_of(params.train.word_vectors, workspace=layout.workspace)
    given += [start_manifest(layout.workspace / params.train.start)] if params.train.start else []
    given += [file for name in params.catalogues for file in _tables(layout.taught_by(name))]
    if params.train.views:
        given += sorted(layout.views.iterdir())
    inputs = [sha256(path) for path in (layout.items_clean, layout.histories, layout.valid_targets, *given)]
    return digest(
        {
            "inputs": inputs,
            # All but where it runs and how often it saves: another address must not lose the checkpoints, and all
            # nodes share one work folder.
            "train": {**to_dict(params.train), "node_rank": None, "rendezvous": None, "checkpoint_seconds": None},
            # Only the stage `index` asks for `stable`.
            "index": {**to_dict(params.index), "stable": None},
            "drop_repeats": params.clean.drop_repeats,
            "seed": params.seed,
            "code": code,
            **({"catalogues": [layout.dataset, *params.catalogues]} if params.catalogues else {}),
        }
    )


def _tables(folder: Path) -> list[Path]:
    """What a further catalogue teaches. Raises `BadInput` where there is nothing."""
    if not folder.is_dir():
        raise BadInput(
            f"what the catalogue {folder.name} teaches is missing",
            where=str(folder),
            mend=f"run its stages, the last of them `clean-of@{folder.name}`: idiom repro, or idiom retrain. "
            "`idiom ablate` and `idiom backfill` take workspaces of one catalogue",
        )
    return sorted(folder.iterdir())


def start_manifest(folder: Path) -> Path:
    """The manifest of the pair that `train.start` names. Raises `BadInput` where there is none."""
    if not (folder / MANIFEST).is_file() or not (folder / FACTS).is_file():
        raise BadInput(
            "there is no trained pair",
            where=f"train.start: {folder}",
            mend="idiom retrain --from champion brings one, --from scratch does without; or name the folder of a pair "
            "or a bundle",
        )
    return folder / MANIFEST


def work_folder(layout: Layout, key: str) -> Path:
    """Where the training of a key keeps its tables, tokenizer and checkpoints."""
    return layout.work(key[:_DIGITS])


def remove_abandoned(work: Path, note: Callable[[str], None]) -> None:
    """Remove the work folders beside `work` whose training stopped more than `DAYS` days ago; each is named.

    There is no lock to ask: a running training writes into its folder every `checkpoint_seconds`. Only what
    `work_folder` names, with a job in it, is a candidate, and never `work` itself.
    """
    oldest = time.time() - DAYS * 86_400
    for folder in sorted(work.parent.iterdir()):
        mine = _FOLDER.fullmatch(folder.name) and (folder / "job.json").is_file() and not folder.is_symlink()
        if mine and folder != work and _last_written(folder) < oldest:
            shutil.rmtree(folder, ignore_errors=True)  # a pair is published: what cannot be removed is no failure of it
            left = "what could be of " if folder.exists() else ""
            note(f"removed {left}{folder}: a training of other inputs or settings, untouched for {DAYS} days")


def _last_written(folder: Path) -> float:
    """Seconds since the epoch; a file that vanishes meanwhile means that somebody is at work: now."""
    try:
        return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:
        return time.time()

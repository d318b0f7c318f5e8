"""The settings of item views: what `ingest` finds beside the words, and what `views` makes of it. Standard library.

ingest:
  relations: kg.tsv.gz                      # head, relation, tail; the head is an item id
  media:
    poster: {files: images.zip}             # ITEM_ID.jpg in it
    sound: {numbers: [audio]}               # columns of the item table, or one of records
    shape: {vectors: vectors.npy, ids: ids.txt}
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from components.settings.bounds import Section, bounded, inside

RELATIONS = "relations"
"""The view of all relations; no medium may be called so."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,29}")

Control = Literal["shuffled", "constant", "rewired"]
Pictures = Literal["colours", "efficientnet", "transformers"]


@dataclass(frozen=True)
class Media(Section):
    """One kind of picture, sound or vector of the items: exactly one of `files`, `vectors`, `numbers`, `labels`."""

    files: str | None = None
    """A folder or zip file within `ingest.path` of pictures or WAV sounds, each named ITEM_ID.ENDING, or as `column`
    says."""
    column: str | None = None
    """Column of the item table with the name of an item's file within `files` (null: ITEM_ID and any ending)."""
    vectors: str | None = None
    """An .npy file [items, numbers], whose ids stand in `ids`; or a Parquet file with a column `item_id` and one of
    lists of numbers."""
    ids: str | None = None
    """Item ids of the rows of an .npy file, one a line."""
    numbers: list[str] | None = None
    """Columns of the raw item table with a number each, or with a record of numbers (`{"tempo": 97.1}`)."""
    labels: str | None = None
    """Column of the item table with labels, such as `image_labels`."""
    max_pixels: int = bounded(40_000_000, low=1)
    """A picture of more is refused before it is decoded."""
    max_bytes: int = bounded(32 << 20, low=1)
    """A file of more is not read."""

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [name for name in ("files", "vectors", "numbers", "labels") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                f"a medium has one of files, vectors, numbers and labels; here: {', '.join(given) or 'none'}"
            )
        if self.column and not self.files:
            raise ValueError("column names the file of an item, and there are no files")
        if bool(self.ids) != bool(self.vectors and self.vectors.endswith(".npy")):
            raise ValueError("an .npy file of vectors comes with its item ids in `ids`, and only that")
        for key in ("files", "vectors", "ids"):
            if getattr(self, key):
                inside(getattr(self, key), key=f"ingest.media.{key}")

    @property
    def kind(self) -> str:
        """`files`, `vectors`, `numbers` or `labels`."""
        return next(name for name in ("files", "vectors", "numbers", "labels") if getattr(self, name))


@dataclass(frozen=True)
class Views(Section):
    """Media and relations -> a vector and words for each item; nothing where `ingest` names none."""

    words: list[str] = field(default_factory=list)
    """Relations and media with words that become columns of the items, which `clean.text_fields` and the voices of text
    can name: relations (`director`), labels, and pictures (names of their colours)."""
    ranker: bool = True
    """Whether every view is a voice of the ranker, with links and shared tails among its features."""
    controls: bool = True
    """Whether `rank` teaches the ranker twice more, with shuffled views and without any, and says whether the real ones
    are better."""
    only: list[str] | None = None
    """Views that are made (null: all): names of media, and `relations`."""
    relations: Literal["counts", "svd"] = "counts"
    """counts: an item is its tails, the rare ones most. svd: the same in `dims` numbers, by a truncated singular value
    decomposition."""
    dims: int = bounded(64, low=2, high=4096)
    """Numbers of a dense view; longer vectors are reduced to their principal components."""
    pictures: Pictures = "colours"
    """What reads a picture. colours: histograms and statistics of it. efficientnet: EfficientNet-Lite0 of the optional
    extra `pictures`. transformers: the local image model of `model`."""
    model: str | None = None
    """Folder of a local `transformers` image model, within the workspace."""
    control: dict[str, Control] = field(default_factory=dict)
    """View, or relation -> how it is spoilt, to see what it is worth. shuffled: each item has that of another one.
    constant: all have the same. rewired: the tails of a relation drawn anew, each as often as before."""
    max_seconds: float = bounded(10.0, low=0.01)
    """Decoding a file is given up after so many seconds; of a longer sound so many seconds from its start are read."""
    thumbnails: int = bounded(64, low=0, high=256)
    """Pixels of the longer side of the small pictures that pages show, which the bundle holds (0: none): about 2 kB an
    item at 64."""
    batch: int = bounded(32, low=1)
    """Pictures that a network reads at a time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.pictures == "transformers") != (self.model is not None):
            raise ValueError("model is the folder of a local image model, for pictures: transformers, and only that")
        if self.model is not None:
            inside(self.model, key="views.model")


def check_names(names: Iterable[str], *, key: str = "media") -> None:
    """Raise `ValueError` for a name that no view can have."""
    for name in names:
        if not _NAME.fullmatch(name) or name == RELATIONS:
            raise ValueError(f"{key}: {name!r} is no name of a view: small letters, digits and _, and not {RELATIONS}")

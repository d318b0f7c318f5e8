"""The recommender that lies in a directory, whatever kind it is: a trained pair, a bundle, or a voice.

recommender = load(Path("artifacts/demo/register/bundle"))
recommender.recommend([["B001", "B007"]], 10, Decoding())
voice = build("graph", Learned(catalogue, histories), params.voices)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from inspect import isabstract
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from components.errors import BadInput
from components.recommender.catalogue import Catalogue
from components.recommender.interface import Recommender
from components.settings import voices as settings_of
from components.settings.voices import Voices
from components.storage.artifacts import read_json
from components.storage.manifest import MANIFEST
from components.voices.learned import Learned
from components.voices.voice import Voice

VIEW = settings_of.VIEW
"""`view:NAME` is the voice of the view NAME."""


def load(directory: Path, *, device: str = "auto", lean: bool = False) -> Recommender:
    """The voice that the manifest names as its `kind`, or the engine of a pair or a bundle; `device` and `lean`: see
    `Engine.load`.

    Raises `BadInput` for what does not match its manifest, is no recommender, or wants a device that is not there.
    """
    found = read_json(directory / MANIFEST) if (directory / MANIFEST).is_file() else None
    kind = found.get("kind", "pair") if isinstance(found, dict) else "pair"
    if kind in ("pair", "bundle"):
        from components.recommender.engine import Engine

        return Engine.load(directory, device=device, lean=lean)
    if (known := voice(kind)) is None:
        mend = "give a bundle, a trained pair or a saved voice"
        raise BadInput(f"{kind!r} is no kind of recommender", where=str(directory / MANIFEST), mend=mend)
    return known.load(directory)


def names() -> list[str]:
    """`Voices.names`."""
    return Voices.names()


def build(name: str, learned: Learned, settings: Voices | None = None) -> Voice:
    """`Voice.build` of the voice `name` with its settings, where it has any (None: the default ones).

    Raises `LookupError` where its file is missing or holds no such class.
    """
    known, chosen = kind_of(name, settings)
    return known.build(learned, chosen)


def restored(
    name: str, catalogue: Catalogue, arrays: Mapping[str, NDArray[Any]], settings: Voices | None = None
) -> Voice:
    """The voice `name` with what it learned once: its `arrays`. Raises `LookupError` as `build` does."""
    known, chosen = kind_of(name, settings)
    return known(catalogue, arrays, chosen)


def kind_of(name: str, settings: Voices | None = None) -> tuple[type[Voice], Any]:
    """The class of a voice and its settings. Raises `LookupError` as `build` does."""
    base, _, view = name.partition(":")
    chosen = getattr(settings or Voices(), base, None)
    if base == VIEW and chosen is not None:
        chosen = dataclasses.replace(chosen, of=view)
    if (known := voice(name if chosen is None else chosen.FILE)) is None:
        raise LookupError(f"there is no voice {name!r} in components/voices")
    return known, chosen


def voice(kind: object) -> type[Voice] | None:
    """The class of a voice by the name of its file: of `item_graph` it is `ItemGraph`. None where there is none."""
    if not isinstance(kind, str) or not kind.isidentifier() or find_spec(f"{__package__}.{kind}") is None:
        return None
    found = getattr(import_module(f"{__package__}.{kind}"), kind.title().replace("_", ""), None)
    return found if isinstance(found, type) and issubclass(found, Voice) and not isabstract(found) else None

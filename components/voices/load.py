"""The recommender that lies in a directory, whatever kind it is: a trained pair, a bundle, or a voice.

recommender = load(Path("artifacts/demo/register/bundle"))
recommender.recommend([["B001", "B007"]], 10, Decoding())
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from inspect import isabstract
from pathlib import Path

from components.errors import BadInput
from components.recommender.catalogue import Catalogue
from components.recommender.interface import Recommender
from components.storage.artifacts import read_json
from components.storage.manifest import MANIFEST
from components.storage.ragged import Ragged
from components.voices.voice import Voice


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


def build(name: str, catalogue: Catalogue, histories: Ragged) -> Voice:
    """`Voice.build` of the voice `name`. Raises `LookupError` where its file is missing or holds no such class."""
    if (known := voice(name)) is None:
        raise LookupError(f"there is no voice {name!r} in components/voices")
    return known.build(catalogue, histories)


def voice(name: object) -> type[Voice] | None:
    """The class of a voice by the name of its file: of `item_graph` it is `ItemGraph`. None where there is none."""
    if not isinstance(name, str) or not name.isidentifier() or find_spec(f"{__package__}.{name}") is None:
        return None
    found = getattr(import_module(f"{__package__}.{name}"), name.title().replace("_", ""), None)
    return found if isinstance(found, type) and issubclass(found, Voice) and not isabstract(found) else None

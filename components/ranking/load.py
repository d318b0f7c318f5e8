"""The recommender that lies in a directory, whatever kind it is: a trained pair, a bundle, a voice, a hybrid or a sum.

recommender = load(Path("artifacts/demo/register/bundle"))
recommender.recommend([["B001", "B007"]], 10, Decoding())
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import BadInput
from components.ranking.experts import EXPERTS, Experts
from components.ranking.modes import CHOICE, FUSION, HYBRID, Choice, Modes
from components.recommender.catalogue import Catalogue
from components.recommender.interface import Recommender
from components.recommender.pair import FACTS, drops_repeats
from components.storage.artifacts import read_json
from components.storage.job import from_json
from components.storage.manifest import MANIFEST, verify_manifest
from components.voices import load as voices

if TYPE_CHECKING:
    from components.ranking.hybrid import Hybrid


def load(directory: Path, *, device: str = "auto", lean: bool = False) -> Recommender:
    """`voices.load.load`; a hybrid; experts; or all modes of a bundle with a ranker. Raises `BadInput` as it does."""
    found = read_json(directory / MANIFEST) if (directory / MANIFEST).is_file() else None
    kind = found.get("kind") if isinstance(found, dict) else None
    if kind == HYBRID:
        return _hybrid(directory)
    if kind == EXPERTS:
        return Experts.load(directory, device=device)
    if kind == FUSION:
        from components.ranking.fusion import Fusion

        return Fusion.load(directory)
    if kind == "bundle" and (directory / HYBRID).is_dir():
        return modes(directory, directory / HYBRID, _choice(directory / CHOICE), device=device, lean=lean)
    return voices.load(directory, device=device, lean=lean)


def modes(
    model: Path,
    hybrid: Path,
    choice: Choice,
    *,
    catalogue: Catalogue | None = None,
    device: str = "auto",
    lean: bool = False,
) -> Modes:
    """The modes of a pair or bundle and a saved hybrid; `catalogue` replaces that of `model`, whose manifest is
    verified here."""
    verify_manifest(model)
    whole = catalogue or Catalogue.load(model, drop_repeats=drops_repeats(model, read_json(model / FACTS)))

    def engine() -> Recommender:
        from components.recommender.engine import Engine

        return Engine.load(model, device=device, catalogue=catalogue, lean=lean)

    return Modes(whole, engine, lambda: _hybrid(hybrid), choice)


def _hybrid(directory: Path) -> Hybrid:
    from components.ranking.hybrid import Hybrid  # with scipy and torch

    return Hybrid.load(directory)


def _choice(path: Path) -> Choice:
    try:
        return from_json(Choice, read_json(path))
    except (TypeError, ValueError) as error:
        mend = "restore the bundle, or register it again"
        raise BadInput(f"it does not say which mode answers: {error}", where=str(path), mend=mend) from error

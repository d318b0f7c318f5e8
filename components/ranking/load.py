"""The recommender that lies in a directory, whatever kind it is: a trained pair, a bundle, a voice, or a hybrid.

recommender = load(Path("artifacts/demo/register/bundle"))
recommender.recommend([["B001", "B007"]], 10, Decoding())
"""

from __future__ import annotations

from pathlib import Path

from components.recommender.interface import Recommender
from components.storage.artifacts import read_json
from components.storage.manifest import MANIFEST
from components.voices import load as voices

HYBRID = "hybrid"
"""`kind` in the manifest of a saved hybrid."""


def load(directory: Path, *, device: str = "auto", lean: bool = False) -> Recommender:
    """`voices.load.load`, and hybrids. Raises `BadInput` as it does."""
    found = read_json(directory / MANIFEST) if (directory / MANIFEST).is_file() else None
    if isinstance(found, dict) and found.get("kind") == HYBRID:
        from components.ranking.hybrid import Hybrid  # with scipy and torch

        return Hybrid.load(directory)
    return voices.load(directory, device=device, lean=lean)

"""Voices are asked beside the engine, so the fixtures of its tests are here too."""

from __future__ import annotations

from tests.recommender.conftest import make_model_fixture, one_thread, tokenizer

__all__ = ["make_model_fixture", "one_thread", "tokenizer"]

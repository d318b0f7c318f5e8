"""Voices are asked beside the engine, so the tiny models of its tests are here too."""

from __future__ import annotations

from tests.recommender.conftest import make_model, one_thread, tokenizer

__all__ = ["make_model", "one_thread", "tokenizer"]

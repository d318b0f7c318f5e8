"""Fixtures of the training's tests that the recipe of a backbone uses too."""

from tests.training.conftest import make_job as make_job

"""The stage `validate`: checks of the canonical tables by Great Expectations, the leakage suite, the verdict."""

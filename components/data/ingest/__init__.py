"""The stage `ingest`: raw files of any supported format to the canonical tables, and `idiom init`."""

"""The work of Idiom: plain functions, no orchestrator in sight. `python -m components STAGE` runs one stage."""

__version__ = "0.1.0"
"""Also in pyproject.toml; here for machines on which nothing is installed but the learning rooms' libraries."""

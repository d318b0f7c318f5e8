"""The work of Idiom: plain functions, no orchestrator in sight. `python -m components STAGE` runs one stage."""

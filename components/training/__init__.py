"""The alternation, its checkpoints and ranks (torch; no tables library)."""

"""Artifacts on disk: paths, atomic publishing, verified reading, locks."""

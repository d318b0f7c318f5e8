"""Metrics, baselines and the report: arrays in, figures out (no torch)."""

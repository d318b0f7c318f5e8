"""Metrics, comparison and the report of any recommenders: lists in, figures out. No torch."""

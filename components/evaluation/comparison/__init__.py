"""Comparison of runs, versions and baselines on the same users: paired statistics, slices, who gained and who lost."""

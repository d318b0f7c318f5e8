"""Recommendations for all users: histories in shards, scored by several processes, published as one output."""

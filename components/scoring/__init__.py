"""Recommendations for all users: histories in shards, scored by as many processes as there are, published at once."""

"""Beam search over the trie of IDs, on a CPU and on a GPU."""

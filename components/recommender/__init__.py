"""Prompts, batches, model, trie decoding (torch; no tables library)."""

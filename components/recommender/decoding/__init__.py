"""Beam search over the trie: one rule, and two ways to compute it, for a CPU (`ragged`) and for a GPU (`fixed`)."""

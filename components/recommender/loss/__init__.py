"""Cross-entropy of a label: over the whole vocabulary, or over the children of each trie node."""

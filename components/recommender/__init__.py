"""The generative recommender: histories of item ids in, recommended items out. Imports textid, no tables library.

Read in this order: `interface` and `catalogue` (what every recommender answers, and about which items), `prompts` and
`batches` (histories as tokens), `models.interface` (what training and search ask of a network), `models.t5` and
`models.causal` (the two families behind it), `trie` and `search` (beam search over the IDs of real items), `pair` and
`engine` (from a directory to recommendations)."""

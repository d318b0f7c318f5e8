"""Prompts, batches, the model behind one interface, trie decoding, the engine. Imports textid, no tables library.

Read in this order: `prompts` and `batches` (histories as tokens), `models.interface` (what both ask of a network),
`models.t5` and `models.causal` (the two families behind it), `trie` and `decoding` (only real items come out), `pair`
and `engine` (from a directory to recommendations), `bulk` (all users)."""

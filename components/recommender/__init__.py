"""Prompts, batches, the model behind one interface, trie decoding, the engine. Imports textid, no tables library.

Read in this order: `prompts`, `batches` and `windows` (histories as tokens), `model` (what both ask of a network),
`encoder_decoder` and `causal` (the two families behind it), `trie` and `decode` (only real items come out), `pair` and
`engine` (from a directory to recommendations).
"""

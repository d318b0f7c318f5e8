"""Prompts, batches, the model behind one interface, trie decoding, the engine. Imports textid, no tables library.

Read in this order: `prompts` and `batches` (histories as tokens), `model` (what both ask of a network),
`trie` and `decode` (only real items come out), `pair` and `engine` (from a directory to recommendations).
"""

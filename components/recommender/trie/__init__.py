"""The trie of all IDs as flat arrays: built of a table, appended to, saved."""

"""Words and tokens: the normal form, the tokenizer and how it is trimmed, and the words that say what an item is."""

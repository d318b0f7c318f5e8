"""Words for items: tokenizer, ID generator, diverse beams, unique assignment, the ID table."""

"""Words for items: tokenizer, ID generator, diverse beams, unique assignment, the ID table.

Read in this order: `words` (what may stand in an ID, and as which tokens), `table` (the contract), `networks` (what
writes), `decoding` (several candidates an item), `writing` (from candidates to a table in which every ID is unique)."""

"""Words for items: tokenizer, ID generator, diverse beams, own words, unique assignment, the ID table.

Read in this order: `words` (what may stand in an ID, and as which tokens), `table` (the contract), `writing` (several
candidates an item, of its own words, and from candidates to a table in which every ID is unique)."""

"""From items to a table of unique IDs: asked of a generator, imported or drawn; readable candidates, one assignment."""

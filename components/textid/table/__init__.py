"""The ID table, its contract, the quality of its IDs, and the set of taken IDs."""

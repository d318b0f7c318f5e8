"""The ID table, the contract it keeps, how good its IDs are, and which of them are taken."""

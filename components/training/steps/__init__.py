"""The one loop that all phases share, its learning rate, and where its random draws come from."""

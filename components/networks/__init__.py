"""Language models: T5, BART and decoder-only networks, from scratch or pretrained; they know no item and no user."""

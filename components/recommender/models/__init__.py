"""Networks as recommenders: T5, BART, decoder-only."""

"""Networks behind one interface (`interface.Recommender`): T5, BART, decoder-only, and what their steps share."""

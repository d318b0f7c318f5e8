"""The phases of the alternation: cold start, generator phase, re-index, recommender phase with validation."""

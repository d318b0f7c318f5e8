"""What happens between two checkpoints: cold start, generator phase, re-index, recommender phase, validation."""

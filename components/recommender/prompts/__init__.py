"""What a recommender reads: phrasings around a history, the user ID in front of it, and how far back it reaches."""

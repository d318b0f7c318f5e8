"""Prompts of the recommender: templates around a history, the user ID in front of it, how many items it holds."""

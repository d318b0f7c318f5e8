"""The training loop that all phases share, and the seeds of its random draws."""

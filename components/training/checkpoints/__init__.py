"""What a training is at one moment, how that is written whole or not at all, and when."""

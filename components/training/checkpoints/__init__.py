"""The state of a training, how it is written as a checkpoint, and when."""

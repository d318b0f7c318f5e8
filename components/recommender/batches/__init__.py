"""Training batches: a prefix or a window of a history a row; planned in epochs, shuffled in O(1) memory."""

"""Histories as training batches: by prefix or as whole windows, planned in epochs, shuffled without a stored order."""

"""Tables and texts as plain numbers in mapped files, written once for all ranks and for a resumed training."""

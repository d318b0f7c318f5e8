"""Tables and item texts of a training as numbers in mapped files, written once for all ranks."""

"""Child processes, signals, and what a process finds around it."""

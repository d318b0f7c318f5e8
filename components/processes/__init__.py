"""Child processes, ranks of torchrun, signals, and the environment of a process."""

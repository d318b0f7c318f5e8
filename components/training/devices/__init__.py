"""What a process computes with: its rank, precision and compilation, micro-batches, and their cost."""

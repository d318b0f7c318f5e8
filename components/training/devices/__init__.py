"""What a process computes with: its share of a step, its device, compilation, memory and what all of it costs."""

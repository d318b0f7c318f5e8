"""The canonical tables that all stages read: their columns, and interactions as 32-bit codes."""

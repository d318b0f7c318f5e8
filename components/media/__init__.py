"""Pictures and sounds of items: where they lie, and how they are decoded in bounds. Pillow and numpy alone."""

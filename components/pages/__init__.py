"""Pages that a person reads: one stylesheet, Jinja templates, self-contained files."""

"""ID tables outside the phases: by a rule instead of a generator, and for the stage `index`."""

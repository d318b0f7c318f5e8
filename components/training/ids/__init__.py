"""ID tables outside the phases: by a rule instead of a generator, and what the stage `index` asks of a trained pair."""

"""Training: the alternation of ID generator and recommender, its phases, checkpoints and ranks.

Read in this order: `job` (the inputs), `run` and `alternation` (the order of the phases), `phases` (what each phase
trains), `steps.loop` (the training loop that they share), `phases.soft` (how the recommender's loss reaches the
generator), `checkpoints` (how a killed run is resumed). `context` is the data that all phases read."""

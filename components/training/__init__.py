"""The alternation of ID generator and recommender: phases, checkpoints, ranks. Imports recommender and textid only.

Read in this order: `run` and `alternation` (what happens when), `phases` (what each phase teaches), `steps.loop` (one
epoch loop for all of them), `phases.soft` (how the recommender's loss reaches the generator), `checkpoints` (how a
killed run goes on). `job` says what a training is told, `context` what all phases read."""

"""The alternation of ID generator and recommender: phases, checkpoints, ranks. Imports recommender and textid only.

Read in this order: `run` and `alternation` (what happens when), `loop` (one epoch loop for all phases), `soft` (how the
recommender's loss reaches the generator), `checkpoint` (how a killed run goes on).
"""

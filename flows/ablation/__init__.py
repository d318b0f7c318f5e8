"""`idiom ablate`: measure the effect of each ingredient by a grid of trainings on the same data."""

"""`idiom ablate`: what each ingredient is worth, as a grid of trainings on the same data."""

"""`idiom ablate`: a grid of trainings on the same data, which measures what each ingredient is worth."""

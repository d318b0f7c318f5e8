"""The ranker: voices propose candidates, features say what each voice and the tables know of them, a network that was
taught on events held out of the training histories puts them in order. `Hybrid` is all of it as one recommender."""

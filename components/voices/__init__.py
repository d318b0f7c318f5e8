"""Recommenders that stand alone, one file each: the baselines of the model, and the voices that a ranker hears.

The file `item_graph.py` holds the class `ItemGraph`, which is known by the name `item_graph`; so is any other. A voice
with knobs is a field of components/settings/voices.py, which says its file. It is compared with the model where
components/evaluation/contenders.py has an entry of its name."""

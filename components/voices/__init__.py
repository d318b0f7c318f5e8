"""Recommenders that count instead of training, one file each: the baselines of the model, and more that may follow.

The file `item_graph.py` holds the class `ItemGraph`, which is known by the name `item_graph`; so is any other. It is
compared with the model where components/evaluation/contenders.py has an entry of that name."""

"""Recommenders that count instead of training, one file each: what the model has to beat, and more that may follow.

The file `item_graph.py` holds the class `ItemGraph`, is asked for by the name `item_graph`, and is compared with the
model where components/evaluation/contenders.py has an entry of that name. So is any other."""

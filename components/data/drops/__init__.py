"""What arrived after the raw data: the store of drops, who is to be forgotten, and how both meet the tables."""

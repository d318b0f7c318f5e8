"""One model for unseen catalogues: tiers of what is known of a shop, a ranker taught elsewhere, judging."""

"""Diverse beam search: several candidates an item, one decoder step at a time, ten of all logits a beam."""

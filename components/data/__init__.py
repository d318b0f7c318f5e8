"""Tables in, tables out: readers, validation, cleaning, splits (Polars, Great Expectations; no torch)."""

"""The stage `clean`: item texts, duplicates, k-core, and the splits."""

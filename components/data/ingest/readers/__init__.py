"""One module per layout of raw files, each with `read(settings, raw, scratch) -> Tables`."""

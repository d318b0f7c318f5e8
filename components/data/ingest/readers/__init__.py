"""One module for each layout of raw files, named as `ingest.format` names it: `read(settings, raw, scratch) -> Tables`,
and `recognised(names)`, by which `idiom init` finds the format. `table` takes what no other recognises.
"""

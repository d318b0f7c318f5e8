"""Take in a drop of new data: read, judge against the history, keep or quarantine; forget users and items."""

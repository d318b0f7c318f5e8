"""Walk-forward in global time: what a window knows (`windows`), who answers (`rows`), what came of it (`table`)."""

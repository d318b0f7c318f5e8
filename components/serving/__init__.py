"""Answers over HTTP: the API of `mlflow models serve`, the version behind an alias, a page to try it."""

"""The settings of `params.yaml` as frozen dataclasses: read, checked, with a docstring each."""

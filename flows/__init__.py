"""The chain, on Prefect: thin wiring over the stages of dvc.yaml, and the command line."""

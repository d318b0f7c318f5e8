"""The graph of dvc.yaml as Prefect flows, and the command line."""

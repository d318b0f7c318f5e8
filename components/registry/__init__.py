"""MLflow: tracking, the bundle, registration. The one room that imports mlflow."""

-- Databases of MLflow, of its users, and of Prefect; run once, when the volume is empty (compose.yaml).
CREATE DATABASE mlflow;
CREATE DATABASE mlflow_auth;
CREATE DATABASE prefect;

"""Airflow: push rows to Databricks Delta tables, green only when every row is durable."""

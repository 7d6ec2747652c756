"""Dagster: push rows to Databricks Delta tables, materialized only when every row is durable."""

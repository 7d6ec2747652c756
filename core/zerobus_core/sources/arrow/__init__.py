"""Sources of Arrow data: tables, batches, datasets, and data frames that Arrow can convert."""

"""Sources of Arrow data: tables, batches, datasets and the frames that Arrow can take over."""

"""Sources of files, whatever their format, compression and storage."""

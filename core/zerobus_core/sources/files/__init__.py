"""Sources of files, in any format, compression and storage."""

"""Writes rows to Delta tables: one commit for rows of many streams, which are answered only after it."""

"""Writes rows to Delta tables. Rows of many streams share a commit, and are acknowledged only after the commit."""

"""Delta tables: rows of many streams in one commit, and an answer only after it."""

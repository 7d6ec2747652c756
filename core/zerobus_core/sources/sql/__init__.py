"""SQL around a user's query: conditions, questions to the database, and a column's values as JSON."""

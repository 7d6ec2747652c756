"""SQL around a user's query: bounds, the questions that a database answers, and values of a column as JSON."""

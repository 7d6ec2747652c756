"""Other people's libraries of data: which values are theirs, what is special about them, and what to install."""

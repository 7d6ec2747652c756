"""Sources of row objects: sequences, iterables, cursors, and frames that are read row by row."""

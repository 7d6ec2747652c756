"""Finds the files that a path, a directory or a glob stands for, and opens them."""

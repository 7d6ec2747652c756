"""Finds the files of a path, a directory or a glob, and opens them."""

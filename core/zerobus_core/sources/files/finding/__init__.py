"""Which files a path, a directory or a glob means, and how one of them is opened."""

"""The life of one stream: what came in, what is committed, what is acknowledged."""

"""The life of one stream: what was received, committed and acknowledged."""

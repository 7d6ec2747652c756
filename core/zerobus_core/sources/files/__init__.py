"""The sources that read files, with their formats, compressions and storages."""

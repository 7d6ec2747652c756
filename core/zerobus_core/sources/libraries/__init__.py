"""Support for data libraries: recognises their values and handles their special cases."""

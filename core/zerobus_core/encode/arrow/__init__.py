"""Encodes Arrow record batches as payloads of every record format."""

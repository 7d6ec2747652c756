"""Arrow record batches to the payloads of every record format."""

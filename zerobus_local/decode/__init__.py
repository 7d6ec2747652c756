"""Decodes records from the wire into Arrow, and checks them."""

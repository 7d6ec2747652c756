"""Converts single values of scalar types to wire values, exactly or not at all."""

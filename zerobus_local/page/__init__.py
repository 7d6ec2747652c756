"""The page at ``/``: tables, streams, errors and fault switches; plain HTML, with a script that only refreshes it."""

from .handlers import ROUTES

__all__ = ["ROUTES"]

"""The page at ``/``: tables, streams, errors and fault switches; plain HTML, with a script only for refreshing."""

from .handlers import ROUTES

__all__ = ["ROUTES"]

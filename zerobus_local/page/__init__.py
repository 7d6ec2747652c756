"""The page at ``/``, in plain HTML: tables, streams, errors and switches for faults. A script refreshes the page."""

from .handlers import ROUTES

__all__ = ["ROUTES"]

"""The web page at ``/``: it shows tables, streams and errors, and can switch faults on and off.

The page is plain HTML. A script refreshes it.
"""

from .handlers import ROUTES

__all__ = ["ROUTES"]

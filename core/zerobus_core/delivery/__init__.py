"""One delivery from its first row to its receipt."""

from .delivery import Delivery, Target, Watch, fetch_schema

__all__ = ["Delivery", "Target", "Watch", "fetch_schema"]

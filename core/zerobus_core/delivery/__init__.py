"""One delivery from its first row to its receipt."""

from .delivery import Delivery, Target, Watch, fetch_schema
from .reading import source_in_time

__all__ = ["Delivery", "Target", "Watch", "fetch_schema", "source_in_time"]

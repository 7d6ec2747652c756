"""One delivery from its first row to its receipt."""

from .account import Account, DeliverySnapshot
from .delivery import Delivery
from .destination import Controls, Destination, fetch_schema
from .reading import removed_in_time, source_in_time

__all__ = [
    "Account",
    "Controls",
    "Delivery",
    "DeliverySnapshot",
    "Destination",
    "fetch_schema",
    "removed_in_time",
    "source_in_time",
]

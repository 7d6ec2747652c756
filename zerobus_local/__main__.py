"""``python -m zerobus_local`` is ``zerobus-local``."""

from .cli import main

main()

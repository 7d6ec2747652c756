"""Makes ``python -m zerobus_local`` run the command line ``zerobus-local``."""

from .cli import main

main()

"""New rows of a query: those with a watermark above the last one delivered."""

from .new_rows import NewRows

__all__ = ["NewRows"]

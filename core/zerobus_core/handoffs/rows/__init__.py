"""New rows of a query: those with a greater watermark than all rows delivered before."""

from .new_rows import NewRows

__all__ = ["NewRows"]

"""New rows of a query: rows whose watermark is greater than the watermark of every row delivered before."""

from .new_rows import NewRows

__all__ = ["NewRows"]

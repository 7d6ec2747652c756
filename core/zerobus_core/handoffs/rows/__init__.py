"""New rows of a query: those after a watermark, up to another one."""

from .new_rows import NewRows

__all__ = ["NewRows"]

"""The one border to the workspace's REST API: what it answers, as JSON, and its errors as ours."""

from __future__ import annotations

from .fetch import ask, fetch_table_info, forget_table_info

__all__ = ["ask", "fetch_table_info", "forget_table_info"]

"""All requests to the workspace's REST API; they return parsed JSON, and translate errors into ours."""

from __future__ import annotations

from .fetch import ask, fetch_table_info, forget_table_info

__all__ = ["ask", "fetch_table_info", "forget_table_info"]

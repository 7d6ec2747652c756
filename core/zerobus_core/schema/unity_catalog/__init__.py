"""All use of the workspace's REST API; answers are returned as JSON, and errors are translated into ours."""

from __future__ import annotations

from .fetch import ask, fetch_table_info, forget_table_info

__all__ = ["ask", "fetch_table_info", "forget_table_info"]

"""Sends requests to the workspace's REST API; a function returns parsed JSON, or raises one of our errors."""

from __future__ import annotations

from .fetch import ask, fetch_table_info, forget_table_info

__all__ = ["ask", "fetch_table_info", "forget_table_info"]

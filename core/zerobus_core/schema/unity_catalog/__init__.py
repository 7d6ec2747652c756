"""Sends requests to the workspace's REST API, returns parsed JSON, and translates failures into our errors."""

from __future__ import annotations

from .fetch import ask, fetch_table_info, forget_table_info

__all__ = ["ask", "fetch_table_info", "forget_table_info"]

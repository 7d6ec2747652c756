"""The version of the package, without a look into its metadata: that imports 30 modules, which each task would pay."""

from __future__ import annotations

__all__ = ["USER_AGENT", "VERSION"]

# As in pyproject.toml; a test compares it with the metadata of the installed package.
VERSION = "0.2.0"
USER_AGENT = f"zerobus-orchestration/{VERSION}"

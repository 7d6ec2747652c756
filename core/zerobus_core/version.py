"""The version of the package, written down here because reading the package's metadata would import 30 modules."""

from __future__ import annotations

__all__ = ["USER_AGENT", "VERSION"]

# As in pyproject.toml; a test compares it with the metadata of the installed package.
VERSION = "0.2.0"
USER_AGENT = f"zerobus-orchestration/{VERSION}"

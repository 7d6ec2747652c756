"""click's test runner with stdout and stderr apart, as click 8.2 and newer have them anyway."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from click.testing import CliRunner

__all__ = ["cli_runner"]

_SEPARATE: dict[str, Any] = {"mix_stderr": False} if version("click").startswith("8.1.") else {}


def cli_runner(**options: Any) -> CliRunner:
    """A runner of commands in this process."""
    return CliRunner(**_SEPARATE, **options)

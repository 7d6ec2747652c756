"""Checks options when definitions are loaded, and merges them when a delivery begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zerobus_core import IngestOptions

__all__ = ["checked_options", "ingest_options"]


def ingest_options(*layers: Mapping[str, Any]) -> IngestOptions:
    """Build options from layers of configuration; each layer overrides the layers before it.

    Raises ConfigurationError for an unknown option or an invalid value.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merged.update(layer)
    return IngestOptions.from_mapping(merged)


def checked_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of one layer; raise ConfigurationError if one has an invalid name or value."""
    on_bad_record = {"on_bad_record": "dead_letter"} if "dead_letter_uri" in options else {}
    needed = {"dead_letter_uri": "file"} if options.get("on_bad_record") == "dead_letter" else {}
    if "transform_version" in options:
        needed["transform"] = "module:function"
    # Some options need another one, which can be in another layer.
    ingest_options(on_bad_record, needed, options)
    return options

"""Removes secrets from URIs, so that they can be shown."""

from __future__ import annotations

import re

__all__ = ["shown_uri", "without_secrets"]

# Plain file paths: any character is legal.
_PLAIN = {"file", "local", "memory"}
# What comes before the @ of Azure's URIs is a container.
_CONTAINER_FIRST = {"abfs", "abfss", "wasb", "wasbs"}
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
_HOST = re.compile(r"(\[.*\]|[^:]*)(:\d*)?")
_LEFT_OUT = "…"


def shown_uri(uri: str) -> str:
    """Return ``uri`` without user, password, query and fragment; a plain path is returned unchanged.

    In a chain, such as ``zip://*.csv::https://host/x.zip``, this is done for each link.
    """
    return "::".join(map(_shown_link, uri.split("::"))) if "://" in uri else uri


def without_secrets(text: str) -> str:
    """Return the text with each URI in it in the form of ``shown_uri``."""
    return _URI.sub(lambda found: shown_uri(found[0]), text)


def _shown_link(link: str) -> str:
    scheme, sign, rest = link.partition("://")
    if not sign or scheme.lower() in _PLAIN:
        return link
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    # A password with an unescaped / ? or # goes on behind what looks like a host and its port.
    is_cut_off = "@" not in authority and "@" in rest and _HOST.fullmatch(authority) is None
    user = rest.rpartition("@")[0] if is_cut_off else authority.rpartition("@")[0]
    if user and not (scheme.lower() in _CONTAINER_FIRST and ":" not in user):
        rest = rest[len(user) + 1 :]
    found = re.search(r"[?#]", rest)
    return f"{scheme}://{rest if found is None else rest[: found.end()] + _LEFT_OUT}"

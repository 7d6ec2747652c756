"""Removes secrets from URIs, so that they can be shown."""

from __future__ import annotations

import re
from urllib.parse import unquote

__all__ = ["secrets_in", "shown_uri", "without_secrets"]

# Plain file paths: any character is legal.
_PLAIN = {"file", "local", "memory"}
# In the URIs of Azure's storages, the text before the @ is a container, not a user.
_CONTAINER_FIRST = {"abfs", "abfss", "wasb", "wasbs"}
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
_HOST = re.compile(r"(\[.*\]|[^:]*)(:\d*)?")
_LEFT_OUT = "…"
# Schemes in whose URIs any query can be a secret; in other URIs, a question mark can be part of a glob.
_WEB = {"http", "https"}
# The shortest text that is taken for a token; shorter ones are names of users, or dates and versions in a query.
_SHORTEST_TOKEN = 16


def shown_uri(uri: str) -> str:
    """Return ``uri`` without user, password, query and fragment; a plain path is returned unchanged.

    URIs that are only paths, such as ``file:///x``, are also unchanged. In a chain, such as
    ``zip://*.csv::https://host/x.zip``, each link is shown in this way.
    """
    return "::".join(map(_shown_link, uri.split("::"))) if "://" in uri else uri


def without_secrets(text: str) -> str:
    """Return ``text`` with each URI in it replaced by its ``shown_uri``."""
    return _URI.sub(lambda found: shown_uri(found[0]), text)


def secrets_in(uri: str) -> list[str]:
    """Return the secrets of a URI: its password, its query, and each long value in the query.

    Each secret is returned as written. If its percent-decoded form differs, that form is returned too. A user name
    without a password counts as a secret if it can be a token. A query without ``=`` counts as a secret only in http(s)
    URIs.
    """
    secrets: dict[str, None] = {}
    for scheme, user, rest in map(_parts, uri.split("::") if "://" in uri else ()):
        name, _, password = user.partition(":")
        is_token = not password and (scheme in _WEB or len(name) >= _SHORTEST_TOKEN)
        secrets[name if is_token else password] = None
        query = re.split(r"[?#]", rest, maxsplit=1)[1:]
        if query and ("=" in query[0] or scheme in _WEB):
            secrets[query[0]] = None
            values = [pair.partition("=")[2] for pair in re.split("[&;]", query[0])]
            secrets.update(dict.fromkeys(value for value in values if len(value) >= _SHORTEST_TOKEN))
    return list(dict.fromkeys(form for secret in secrets if secret for form in (secret, unquote(secret))))


def _shown_link(link: str) -> str:
    scheme, _, rest = _parts(link)
    if not scheme:
        return link
    found = re.search(r"[?#]", rest)
    return f"{link[: len(scheme)]}://{rest if found is None else rest[: found.end()] + _LEFT_OUT}"


def _parts(link: str) -> tuple[str, str, str]:
    """Return the lower-case scheme, the user with the password, and the rest of a link.

    If ``link`` is a plain path, or a URI that is only a path, the scheme and the user are empty.
    """
    scheme, sign, rest = link.partition("://")
    scheme = scheme.lower()
    if not sign or scheme in _PLAIN:
        return "", "", link
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    # A password with an unescaped / ? or # continues after what looks like a host and its port.
    is_cut_off = "@" not in authority and "@" in rest and _HOST.fullmatch(authority) is None
    user = rest.rpartition("@")[0] if is_cut_off else authority.rpartition("@")[0]
    if scheme in _CONTAINER_FIRST and ":" not in user:
        user = ""
    return scheme, user, rest[len(user) + 1 :] if user else rest

"""Masks secrets in the texts of servers and libraries, before anybody can read these texts.

The masked secrets are the client secret (plain and in its encoded forms), the credentials after ``Bearer`` or
``Basic``, JSON Web Tokens, Databricks' own tokens (such as ``dapi…``), and the values of the JSON and form fields that
OAuth defines as secrets. A client secret that is shorter than six characters is not masked.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from .errors import ForeignError, ZerobusIngestError

__all__ = ["Mask"]

MASKED = "<masked>"
# The most causes that are followed: errors can be chained in a circle.
_LONGEST_CHAIN = 50
_NAMES = r"access_token|refresh_token|id_token|client_secret|client_assertion|subject_token|assertion|password"
_VALUE = r"[\w+/=~.-][^\s\"'<>,;\\]*"
_BETWEEN = r"(?:[\s:=]+|%20|\+|\\?[\"'])"
# "Bearer token" and "Basic authentication" can be words of a sentence, and are not masked.
_WORDS = r"(?!(?:tokens?|auth\w*|realm|errors?|scheme|header|values?|credentials?|type|prefix|and|or|is|was|in|not)\b)"
_PATTERNS = (
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), "<token>"),
    (re.compile(r"\bd(?:api|ose|kea|sab|psa)[0-9a-f]{16,}(?:-\d+)?\b"), "<token>"),
    (re.compile(rf"\b(Bearer{_BETWEEN}){_WORDS}{_VALUE}", re.IGNORECASE), rf"\1{MASKED}"),
    (re.compile(rf"\b(Basic{_BETWEEN})(?=[\w+/]*[\d+/=]|\w{{20}}){_VALUE}", re.IGNORECASE), rf"\1{MASKED}"),
    (
        re.compile(rf"(\\?[\"']?\b(?:{_NAMES})\\?[\"']?\s*[:=]\s*\\?[\"']?)[^\s\"'&,;<>}}\\]+", re.IGNORECASE),
        rf"\1{MASKED}",
    ),
)
# The length of the shortest secret that is masked; a shorter one is a part of many words.
_SHORTEST = 6


class Mask:
    """Masks secrets in texts and errors. It is built from the known secrets; its ``repr`` does not show them."""

    def __init__(self, *, client_id: str | None = None, secret: str | None = None, tokens: Iterable[str] = ()) -> None:
        known: set[str] = set(tokens)
        if secret and len(secret) >= _SHORTEST:
            known |= set(_forms(secret)) | {_base64(f"{client_id or ''}:{secret}")}
            known.add(_base64(f"{quote_plus(client_id or '')}:{quote_plus(secret)}"))  # RFC 6749, section 2.3.1
            known.add(_base64(secret))
        # The longest first: one can be a part of another.
        longest = sorted((re.escape(text) for text in known if text), key=len, reverse=True)
        self._known = re.compile("|".join(longest)) if longest else None

    def __repr__(self) -> str:
        return "Mask()"

    def text(self, text: str) -> str:
        """Return ``text`` with its secrets masked."""
        if self._known is not None:
            text = self._known.sub(MASKED, text)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return text

    def cause(self, error: BaseException) -> BaseException:
        """Mask the secrets in ``error`` and in its chain of causes, and return the masked error.

        A ZerobusIngestError keeps its class and gets a masked message; any other error that holds a secret is replaced
        by a ForeignError.
        """
        return self._cleaned(error, _LONGEST_CHAIN, set())

    def _cleaned(self, error: BaseException, left: int, seen: set[int]) -> BaseException:
        if not left or id(error) in seen:
            return error
        seen.add(id(error))
        cleaned = self._without_secret(error)
        for name in ("__cause__", "__context__"):
            link: BaseException | None = getattr(error, name)
            if link is not None:
                suppress = error.__suppress_context__
                setattr(cleaned, name, self._cleaned(link, left - 1, seen))
                cleaned.__suppress_context__ = suppress
        return cleaned

    def _without_secret(self, error: BaseException) -> BaseException:
        if isinstance(error, ZerobusIngestError):
            error.message = self.text(error.message)
            error.args = (error.message, *error.args[1:])
            return error
        if not self._is_held_by(error):
            return error
        foreign = ForeignError(f"{type(error).__name__}: {self.text(str(error))}")
        return foreign.with_traceback(error.__traceback__)

    def _is_held_by(self, error: BaseException) -> bool:
        # OSErrors and exception groups also keep texts outside of args.
        shown = (str(error), repr(error), repr(error.args), *getattr(error, "__notes__", ()))
        shown += (repr(getattr(error, "exceptions", "")),)
        return any(self.text(text) != text for text in shown)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()


def _forms(secret: str) -> Iterable[str]:
    """Yield the secret itself, and its encoded forms for a URL, for form data, and for a Python or JSON string."""
    yield secret
    yield quote(secret, safe="", errors="surrogatepass" if not secret.isascii() else None)
    yield quote_plus(secret, errors="surrogatepass" if not secret.isascii() else None)
    yield secret.encode("unicode_escape").decode()
    yield secret.replace("/", "\\/")

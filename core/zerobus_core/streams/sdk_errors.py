"""Replaces each SDK error by one of our errors; the text of the SDK error decides the class of our error.

The errors of the Python SDK 1.10.0 have neither the status code nor the details of a failure. The SDK divides errors
into retryable and other ones, but this division is wrong for the token endpoint: HTTP 429, a dropped connection and a
captive portal's page all become NonRetriableException. So only the text of an error says what happened. The fixed
parts of that text come from the SDK (errors.rs, default_token_factory.rs) and from tonic (the description of each
status code). The table ``RULES`` lists these parts, and each rule has a test in which a real server causes the error.

A rule matches from the start of the text, so a status name that is quoted in a server's message has no effect.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import (
    AuthenticationError,
    ConfigurationError,
    IngestTimeoutError,
    PermissionDeniedError,
    RejectedRecordError,
    SchemaError,
    TableNotFoundError,
    ThrottledError,
    TransportError,
    ZerobusIngestError,
)
from ..masking import Mask

__all__ = ["CHECK_ENDPOINT", "RULES", "Rule", "is_vague", "translated_error"]

_GRANTS = "grant USE CATALOG, USE SCHEMA, and MODIFY and SELECT on the table itself to the service principal"
_CREDENTIALS = "check the client id and secret of the service principal"


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern for an error message of the SDK, the class of our error that replaces it, and advice for the user."""

    name: str
    pattern: re.Pattern[str]
    error: type[ZerobusIngestError]
    advice: str = ""


def _rule(name: str, pattern: str, error: type[ZerobusIngestError], advice: str = "") -> Rule:
    return Rule(name, re.compile(pattern, re.DOTALL), error, advice)


def _status(name: str, description: str, error: type[ZerobusIngestError], advice: str = "") -> Rule:
    # tonic writes a status as: code: '<description>', message: "…"
    prefix = r"(?:Failed to create stream|Stream is closed): code: '"
    return _rule(name, prefix + re.escape(description) + "'", error, advice)


_TOKEN = r"Specified UC token is in invalid format: "  # noqa: S105 - the SDK's wording, not a token

_CONNECT = r"Failed to create stream: code: 'The service is currently unavailable', message: "
CHECK_ENDPOINT = "check the endpoint (ZEROBUS_SERVER_ENDPOINT) and DNS, and whether a firewall blocks connections to it"

# INVALID_ARGUMENT on an open stream: the first form is from record streams, the second from Arrow streams.
_INVALID = r"(?:Invalid argument: |Stream is closed: code: 'Client specified an invalid argument', message: \")"

RULES = (
    # What the SDK itself refuses
    _rule("table name", r"Specified UC table name is invalid", ConfigurationError, "use catalog.schema.table"),
    _rule(
        "endpoint",
        r"The specified Zerobus endpoint is in invalid format|Failed to open a channel: invalid URI",
        ConfigurationError,
    ),
    _rule(
        "workspace URL",
        r"Specified UC endpoint is in invalid format|" + _TOKEN + r"Request failed: builder error",
        ConfigurationError,
    ),
    # The token endpoint of the workspace
    _rule(
        "token without the grants",
        _TOKEN + r"Client error \(\d+\).*not authorized to the requested authorizations",
        PermissionDeniedError,
        _GRANTS,
    ),
    _rule("token 429", _TOKEN + r"Client error \(429\)", ThrottledError),
    _rule("token 408", _TOKEN + r"Client error \(408\)", IngestTimeoutError),
    _rule("token 403", _TOKEN + r"Client error \(403\)", PermissionDeniedError, _GRANTS),
    _rule("token 404", _TOKEN + r"Client error \(404\)", ConfigurationError, "check the workspace URL"),
    _rule("token 4xx", _TOKEN + r"Client error \(4\d\d\)", AuthenticationError, _CREDENTIALS),
    _rule("token garbage", _TOKEN + r"(Parse failed|access_token missing|access token is not)", TransportError),
    _rule("token connection dropped", _TOKEN + r"Request failed", TransportError),
    _rule("token 5xx or no connection", r"Token fetch failed: ", TransportError),
    # The schema
    _rule("Arrow schema", r"Arrow schema does not match the target table", SchemaError, "fetch the schema again"),
    _rule(
        "INVALID_ARGUMENT at open",
        r"Failed to create stream: code: 'Client specified an invalid argument'",
        SchemaError,
        "the table may have changed",
    ),
    # A peer that breaks the protocol. This must precede the rule for refused records, whose texts begin alike.
    _rule(
        "protocol broken",
        _INVALID + r"(Invalid durability ACK offset|.*Error Code: 4002\b)",
        TransportError,
    ),
    _rule("INVALID_ARGUMENT on an open stream", _INVALID, RejectedRecordError),
    _rule(
        "open timed out",
        "Failed to create stream: code: 'Deadline expired before operation could complete', "
        'message: "Stream creation timed out"',
        IngestTimeoutError,
        CHECK_ENDPOINT,
    ),
    # Status codes
    _status("UNAUTHENTICATED", "The request does not have valid authentication credentials", AuthenticationError),
    _status(
        "PERMISSION_DENIED",
        "The caller does not have permission to execute the specified operation",
        PermissionDeniedError,
        _GRANTS,
    ),
    _status("NOT_FOUND", "Some requested entity was not found", TableNotFoundError, "check the table's name"),
    _status("RESOURCE_EXHAUSTED", "Some resource has been exhausted", ThrottledError),
    _status("DEADLINE_EXCEEDED", "Deadline expired before operation could complete", IngestTimeoutError),
    _status(
        "UNIMPLEMENTED",
        "Operation is not implemented or not supported",
        ConfigurationError,
        "this endpoint does not take this record format",
    ),
    _status("OUT_OF_RANGE", "Operation was attempted past the valid range", RejectedRecordError),
    # Nobody was reached
    _rule(
        "nobody at a local port",
        _CONNECT + r'"tcp connect error".*?, (127\.[\d.]+|\[::1\]):\d+, .*Connection ?refused',
        TransportError,
        "nothing listens at the endpoint: the local server is probably not running, or was restarted on other ports",
    ),
    _rule(
        "not connected", _CONNECT + r'"(tcp connect error|dns error|transport error)"', TransportError, CHECK_ENDPOINT
    ),
    # Every other status and every other failure of a connection is taken as temporary
    _rule("connection", r"", TransportError),
)

# What the SDK says when it noticed the end of a stream before it could read why.
_VAGUE = re.compile(r'Stream is closed: code: .*, message: "(Failed to send stream-open request|Stream closed)"')

_ANYBODYS = Mask()


def translated_error(reason: BaseException | str, mask: Mask = _ANYBODYS) -> ZerobusIngestError:
    """Return our error for an error that the SDK raised or passed to a callback.

    Our error includes the SDK's text, in which a server can quote the secret or token that it received. So ``mask``
    hides secrets in the text and in the chain of causes. A ZerobusIngestError is returned unchanged.
    """
    if isinstance(reason, ZerobusIngestError):
        return reason
    text = mask.text(str(reason)).strip() or type(reason).__name__
    rule = next(rule for rule in RULES if rule.pattern.match(text))
    error = rule.error(f"{text} ({rule.advice})" if rule.advice else text)
    if isinstance(reason, BaseException):
        error.__cause__ = mask.cause(reason)
    return error


def is_vague(error: ZerobusIngestError) -> bool:
    """Return whether the error says only that a stream ended, but not why."""
    return _VAGUE.match(error.message) is not None

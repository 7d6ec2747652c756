"""What goes wrong while a file is read, as errors of ours that name the file."""

from __future__ import annotations

from ..errors import ConfigurationError, TransportError

__all__ = ["changed", "unreadable"]

# Packages whose errors tell of a storage or of the way to it; not all of them are OSErrors.
_STORAGES = {"aiobotocore", "aiohttp", "azure", "botocore", "google", "httpx", "requests", "urllib3"}


def unreadable(path: str, error: Exception, rows: int | None = None) -> ConfigurationError | TransportError:
    """The error for a file that cannot be read; ``rows`` is how many rows of it had been read by then.

    A storage that fails is worth another try, a damaged file is not.
    """
    after = f" after {rows} rows" if rows else ""
    message = f"cannot read {path}{after}: {type(error).__name__}: {error}"
    if (type(error).__module__ or "").partition(".")[0] in _STORAGES:
        return TransportError(message)
    # gzip and its kind say by a bare OSError that a file is damaged; a storage that fails has a number for it.
    if isinstance(error, FileNotFoundError | PermissionError) or getattr(error, "errno", None) is None:
        return ConfigurationError(message)
    return TransportError(message)


def changed(path: str) -> TransportError:
    """The error for a file that is another one than when its reading began; a new try reads it from its first row."""
    return TransportError(
        f"{path} was changed or removed while it was read, and rows of two versions of it may have been sent; "
        "deliver it again once it is complete: that starts with its first row"
    )

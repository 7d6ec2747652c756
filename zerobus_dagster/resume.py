"""Which attempts may skip the rows that a checkpoint says are durable."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

from zerobus_core.hosting import warn_deprecated

__all__ = ["RESUME", "Resume", "resume_of"]

Resume: TypeAlias = Literal["retry", "always", "never"]

RESUME = (
    'Which attempts send only the missing rows: "retry", a retry of the step or a re-execution from failure; '
    '"always", any re-execution of the run; "never".'
)


def resume_of(value: Any, *, stacklevel: int | None = None) -> Resume:
    """Return one of the three words; raise ValueError for any other value.

    True and False are the older form of "retry" and "never". ``stacklevel`` is for the warning about them, counted from
    the caller; None omits the warning.
    """
    if isinstance(value, bool):
        word: Resume = "retry" if value else "never"
        if stacklevel is not None:
            warn_deprecated(f"resume={value}", f"say resume={word!r}", stacklevel=stacklevel + 1)
        return word
    if value not in get_args(Resume):
        raise ValueError(f'resume must be "retry", "always" or "never", not {value!r}')
    return value  # type: ignore[no-any-return]

"""The setting ``resume``: which attempts skip the rows that are durable according to a checkpoint."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

from zerobus_core.hosting import warn_deprecated

__all__ = ["RESUME", "Resume", "resume_of"]

Resume: TypeAlias = Literal["retry", "always", "never"]

RESUME = (
    'Which attempts send only the missing rows. "retry": retries of the step and re-executions from failure; '
    '"always": also every other re-execution of the run; "never": no attempt.'
)


def resume_of(value: Any, *, stacklevel: int | None = None) -> Resume:
    """Return ``value`` as "retry", "always" or "never"; raise ValueError for any other value.

    True and False are older forms of "retry" and "never". They cause a deprecation warning, unless ``stacklevel`` is
    None. ``stacklevel`` is as for ``warnings.warn``: 1 means the caller of this function.
    """
    if isinstance(value, bool):
        word: Resume = "retry" if value else "never"
        if stacklevel is not None:
            warn_deprecated(f"resume={value}", f"say resume={word!r}", stacklevel=stacklevel + 1)
        return word
    if value not in get_args(Resume):
        raise ValueError(f'resume must be "retry", "always" or "never", not {value!r}')
    return value  # type: ignore[no-any-return]

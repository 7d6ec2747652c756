"""Splits a JSON file into its values if the file is an array, or if its values span several lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ....errors import ConfigurationError
from ....wording import plural

__all__ = ["Layout", "json_texts", "layout_of"]

Layout = str
"""The layout of a JSON file.

``lines``: one value per line; ``array``: one array of values; ``values``: values that can each span several lines.
"""

# Text in quotes is one token. A token that is only a quote begins text that continues in the next block.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["\[\]{},]', re.DOTALL)


def layout_of(start: bytes) -> Layout | None:
    """Return the layout that the first bytes of a file show; None if there are too few bytes to decide."""
    text = start.lstrip()
    if text.startswith(b"["):
        return "array"
    line, end, _ = text.partition(b"\n")
    if not end and len(line.strip()) <= 1:
        return None
    return "values" if line.strip() == b"{" else "lines"


def json_texts(blocks: Iterable[bytes], name: str, *, is_array: bool, max_bytes: int) -> Iterator[bytes | None]:
    """Yield the JSON text of each value; at the end of each block, yield None.

    ``is_array`` says whether the file is one array of values. Error messages call the file ``name``. A yielded text can
    be invalid JSON.

    Raises ConfigurationError if a value is still incomplete after ``max_bytes`` bytes. If ``is_array`` is True, also
    raises this error for an array that is not closed, for a comma without a value, and for text after the array. If
    ``is_array`` is False, also raises this error for text between values, and for an incomplete last value.
    """
    texts = _Texts(name, is_array=is_array)
    for block in blocks:
        yield from texts.add(block)
        if texts.held > max_bytes:
            raise ConfigurationError(
                f"value {texts.count} of {name} is longer than {max_bytes} bytes, the limit for a value; is a "
                "bracket or a quote in it never closed?"
            )
        yield None
    texts.end()


class _Texts:
    """Receives a JSON file block by block, and splits it into the texts of its values."""

    def __init__(self, name: str, *, is_array: bool) -> None:
        self._name = name
        self._is_array = is_array
        self._data = b""
        self._at = 0
        """Index in ``_data`` from which the next token is searched for."""
        self._start = 0
        """Index in ``_data`` at which the incomplete value begins."""
        self._depth = 0
        self._is_open = not is_array
        """Whether more values can follow; without an array always True, with an array only between its brackets."""
        self._is_closed = False
        """Whether the array has ended."""
        self._is_after_comma = False
        self.count = 0

    @property
    def held(self) -> int:
        """The size of the incomplete value so far, in bytes."""
        return len(self._data) - self._start

    def add(self, block: bytes) -> Iterator[bytes]:
        """Add a block of the file; yield the text of each value that ends in the block."""
        self._data = self._data[self._start :] + block
        self._at -= self._start
        self._start = 0
        while (match := _TOKEN.search(self._data, self._at)) is not None:
            if match[0] == b'"':
                self._at = match.start()
                return
            text = self._taken(match)
            self._at = match.end()
            if text is not None:
                self.count += 1
                yield text
        self._at = len(self._data)

    def end(self) -> None:
        """Raise ConfigurationError if the array was not closed, or if text is left over at the end of the file."""
        rest = self._data[self._start :].strip()
        if self._is_array and self._is_open:
            raise ConfigurationError(
                f"the JSON array in {self._name} is never closed: the file was truncated after {self.count} "
                f"{plural(self.count, 'value')}"
            )
        if rest:
            shown = rest[:20].decode(errors="backslashreplace")
            what = (
                "text after its JSON array"
                if self._is_array
                else f"an incomplete last value (complete values: {self.count})"
            )
            raise ConfigurationError(f"{self._name} has {what}: {shown!r}")

    def _taken(self, match: re.Match[bytes]) -> bytes | None:
        """Process a token. If the token completes a value, return the text of this value; otherwise, return None."""
        sign = match[0]
        if sign in b"[{":
            self._on_open(match)
            return None
        if sign in b"]}":
            return self._on_close(match)
        if sign == b"," and self._is_array and self._depth == 1:
            return self._cut(match, is_after_comma=True)
        return None

    def _on_open(self, match: re.Match[bytes]) -> None:
        if self._depth == 0:
            if self._is_array and not self._is_open and not self._is_closed and self._start == 0:
                self._is_open = True
                self._start = match.end()
            elif self._is_array or self._data[self._start : match.start()].strip():
                raise self._between_error(match)
        self._depth += 1

    def _on_close(self, match: re.Match[bytes]) -> bytes | None:
        self._depth -= 1
        if self._depth < 0:
            raise self._between_error(match)
        if self._depth > 0:
            return None
        if not self._is_array:
            text = self._data[self._start : match.end()]
            self._start = match.end()
            return text
        self._is_open, self._is_closed = False, True
        if not self._is_after_comma and not self._data[self._start : match.start()].strip():
            self._start = match.end()
            return None  # an array without values
        return self._cut(match, is_after_comma=False)

    def _cut(self, match: re.Match[bytes], *, is_after_comma: bool) -> bytes:
        text = self._data[self._start : match.start()]
        if not text.strip():
            raise ConfigurationError(f"the JSON array in {self._name} has a comma but no value {self._place}")
        self._start = match.end()
        self._is_after_comma = is_after_comma
        return text

    def _between_error(self, match: re.Match[bytes]) -> ConfigurationError:
        shown = self._data[self._start : match.end()][:20].decode(errors="backslashreplace")
        return ConfigurationError(f"{self._name} has unexpected text {self._place}: {shown!r}")

    @property
    def _place(self) -> str:
        return f"after value {self.count - 1}" if self.count else "before its first value"

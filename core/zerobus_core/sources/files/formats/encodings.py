"""Text files of any encoding as UTF-8."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from itertools import chain

from ....errors import ConfigurationError

__all__ = ["utf8_blocks"]

_BOM = codecs.BOM_UTF8
# The longer ones first, since UTF-32's begins with UTF-16's.
_FOREIGN_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_UNREADABLE = "zerobus_unreadable"


def utf8_blocks(blocks: Iterator[bytes], encoding: str, name: str) -> Iterator[bytes]:
    """The same text as UTF-8, without a byte order mark at its start.

    A byte that is not valid in ``encoding`` becomes bytes that are not valid in UTF-8, so that whoever reads the value
    refuses it.  ``name`` is the file's, for errors: a UTF-16 or UTF-32 file that is read as something else is a
    ConfigurationError.
    """
    codec = codecs.lookup(encoding)
    start = b""
    while len(start) < len(codecs.BOM_UTF32_LE) and (block := next(blocks, b"")):
        start += block
    found = next((other for bom, other in _FOREIGN_BOMS if start.startswith(bom)), None)
    if found is not None and not codec.name.startswith(found):
        raise ConfigurationError(
            f'{name} is {found.upper()}, by its first bytes, and is read as {codec.name}: say encoding="{found}" in '
            "the format"
        )
    if codec.name in {"utf-8", "utf-8-sig"}:
        yield start.removeprefix(_BOM)
        yield from blocks
        return
    yield from _transcoded(start, blocks, codec)


def _transcoded(start: bytes, blocks: Iterator[bytes], codec: codecs.CodecInfo) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(codec.name)(errors=_UNREADABLE)
    is_first = True
    for block in chain([start], blocks):
        text = decoder.decode(block)
        if text and is_first:
            text, is_first = text.removeprefix("\ufeff"), False
        if text:
            yield text.encode(errors="surrogatepass")
    if rest := decoder.decode(b"", final=True):
        yield rest.encode(errors="surrogatepass")


def _unreadable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end  # half of a surrogate pair, which UTF-8 has no form for


codecs.register_error(_UNREADABLE, _unreadable)

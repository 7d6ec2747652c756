"""Converts text files of any encoding to UTF-8."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from itertools import chain

from ....errors import ConfigurationError

__all__ = ["utf8_blocks"]

_BOM = codecs.BOM_UTF8
# The marks of UTF-32 come first, because one of them begins with a mark of UTF-16.
_FOREIGN_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
# First bytes of files that are not text, and what to do with them.
_NOT_TEXT = (
    (b"\x1f\x8b", "gzip", "add .gz to its name"),
    (b"\x28\xb5\x2f\xfd", "Zstandard", "add .zst to its name"),
    (b"\xfd7zXZ\0", "xz", "add .xz to its name"),
    (b"PK\x03\x04", "ZIP", "name the files inside as zip://*.csv::archive.zip; if it is an Excel file, name it .xlsx"),
    (b"\xd0\xcf\x11\xe0", "old Excel", "name it .xls"),
    (b"PAR1\x15", "Parquet", 'name it .parquet, or set format="parquet"'),
    (b"ARROW1\0\0", "Arrow IPC", 'name it .arrow, or set format="arrow"'),
    (b"Obj\x01", "Avro", 'name it .avro, or set format="avro"'),
)
_PAGE = (b"<!doctype html", b"<html")
_LONGEST_START = 16
_UNREADABLE = "zerobus_unreadable"


def utf8_blocks(blocks: Iterator[bytes], encoding: str, name: str) -> Iterator[bytes]:
    """Yield the text of ``blocks`` as UTF-8, without a byte order mark at the start.

    A byte that is invalid in ``encoding`` becomes bytes that are invalid in UTF-8, so that a value with such a byte is
    refused later. Error messages call the file ``name``. Raises ConfigurationError for an HTML page, and for a file
    that begins with the first bytes of a known binary format. Also raises ConfigurationError for a file that begins
    with a byte order mark of UTF-16 or UTF-32 if ``encoding`` is a different encoding.
    """
    codec = codecs.lookup(encoding)
    start = b""
    while _says_too_little(start) and (block := next(blocks, b"")):
        start += block
    found = next((other for bom, other in _FOREIGN_BOMS if start.startswith(bom)), None)
    if found is not None and not codec.name.startswith(found):
        raise ConfigurationError(
            f"{name} is {found.upper()}, judging by its first bytes, but is read as {codec.name}: set "
            f'encoding="{found}" in the format'
        )
    _refuse_other_files(start, name)
    if codec.name in {"utf-8", "utf-8-sig"}:
        yield start.removeprefix(_BOM)
        yield from blocks
        return
    yield from _transcoded(start, blocks, codec)


def _says_too_little(start: bytes) -> bool:
    """Return whether ``start``, the first bytes of a file, is too short to show what kind of file this is.

    Returns False as soon as ``start`` shows that the file is text, so that the file's rows do not wait for more bytes.
    """
    if len(start) < len(codecs.BOM_UTF32_LE):
        return True
    text = start.lstrip().lower()
    may_be_other = any(sign.startswith(start) for sign, _, _ in _NOT_TEXT) or any(
        page.startswith(text) for page in _PAGE
    )
    return may_be_other and len(start) < _LONGEST_START


def _refuse_other_files(start: bytes, name: str) -> None:
    for sign, what, remedy in _NOT_TEXT:
        if start.startswith(sign):
            article = "an" if what[0] in "aeiouAEIOUx" else "a"
            raise ConfigurationError(
                f"{name} is {article} {what} file, judging by its first bytes, but is read as text: {remedy}"
            )
    if start.lstrip().lower().startswith(_PAGE):
        raise ConfigurationError(
            f"{name} is an HTML page, judging by its first bytes: it may be a login or error page that was saved; open "
            "it, and fetch the file again"
        )


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
    return "\udcff", error.end  # half of a surrogate pair, which valid UTF-8 cannot contain


codecs.register_error(_UNREADABLE, _unreadable)

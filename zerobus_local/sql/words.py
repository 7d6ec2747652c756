"""Parses, from sqlglot's tokens, the statements that sqlglot itself does not fully support.

These statements are CREATE CATALOG, DROP CATALOG, SHOW TABLES, GRANT, REVOKE, and ALTER TABLE … ALTER COLUMN with SET
TAGS or UNSET TAGS. The tags of a column can be set and unset; the tags of a table cannot.
"""

from __future__ import annotations

from typing import NoReturn

from sqlglot import Token, TokenType, tokenize

from ..errors import InvalidRequest
from ..model.names import TableName, checked_name
from .statements import CreateCatalog, DropCatalog, GrantChange, SetTags, ShowTables, Statement

__all__ = ["PRIVILEGES", "parse_words"]

PRIVILEGES = {
    "ALL PRIVILEGES": {"CATALOG", "SCHEMA", "TABLE"},
    "USE CATALOG": {"CATALOG"},
    "USE SCHEMA": {"CATALOG", "SCHEMA"},
    "SELECT": {"CATALOG", "SCHEMA", "TABLE"},
    "MODIFY": {"CATALOG", "SCHEMA", "TABLE"},
    "CREATE SCHEMA": {"CATALOG"},
    "CREATE TABLE": {"CATALOG", "SCHEMA"},
}
"""The kinds of securables on which each privilege can be granted."""

_PARTS = {"CATALOG": 1, "SCHEMA": 2, "TABLE": 3}


def parse_words(tokens: list[Token]) -> Statement | None:
    """Parse one of the statements that the module's docstring lists; return None for any other statement.

    Raises InvalidRequest if the statement is invalid.
    """
    words = _Words(_unfolded(tokens))
    if words.take("CREATE", "CATALOG"):
        if_not_exists = words.take("IF", "NOT", "EXISTS")
        name = checked_name("catalog", words.name()).lower()
        comment = words.text() if words.take("COMMENT") else None
        words.end()
        return CreateCatalog(name=name, if_not_exists=if_not_exists, comment=comment)
    if words.take("DROP", "CATALOG"):
        if_exists = words.take("IF", "EXISTS")
        name = checked_name("catalog", words.name()).lower()
        cascade = words.take("CASCADE")
        words.take("RESTRICT")
        words.end()
        return DropCatalog(name=name, if_exists=if_exists, cascade=cascade)
    if words.take("ALTER", "TABLE"):
        return _set_tags(words)
    if words.take("SHOW", "TABLES"):
        return _show_tables(words)
    revoke = words.take("REVOKE")
    return _grant(words, revoke=revoke) if revoke or words.take("GRANT") else None


def _unfolded(tokens: list[Token]) -> list[Token]:
    """Return the tokens of the statement; split the text after SHOW, which sqlglot returns as a single token.

    A statement that does not start with SHOW is returned unchanged.
    """
    if tokens[0].token_type == TokenType.SHOW and len(tokens) > 1 and tokens[1].token_type == TokenType.STRING:
        return [tokens[0], *tokenize(tokens[1].text, read="databricks")]
    return tokens


def _set_tags(words: _Words) -> SetTags | None:
    """Parse the words after ALTER TABLE if they set or unset tags of a column; otherwise return None."""
    parts = [words.name()]
    while words.take("."):
        parts.append(words.name())
    if not (words.take("ALTER", "COLUMN") or words.take("ALTER")):
        return None
    column = words.name()
    unset = words.take("UNSET", "TAGS")
    if not unset and not words.take("SET", "TAGS"):
        return None
    words.expect("(")
    tags = [_tag(words)]
    while words.take(","):
        tags.append(_tag(words))
    words.expect(")")
    words.end()
    if len(parts) != _PARTS["TABLE"]:
        _full_name("TABLE", parts)
    return SetTags(name=TableName(*parts), column=column, tags=tuple(tags), unset=unset)


def _tag(words: _Words) -> tuple[str, str]:
    name = words.text()
    return name, words.text() if words.take("=") else ""


def _show_tables(words: _Words) -> ShowTables:
    if not (words.take("IN") or words.take("FROM")):
        words.end()
        return ShowTables()
    parts = [words.name()]
    while words.take("."):
        parts.append(words.name())
    words.end()
    return ShowTables(schema=_full_name("SCHEMA", parts))


def _grant(words: _Words, *, revoke: bool) -> GrantChange:
    privileges = [words.privilege()]
    while words.take(","):
        privileges.append(words.privilege())
    words.expect("ON")
    kind = next((kind for kind in ("CATALOG", "SCHEMA", "DATABASE", "TABLE") if words.take(kind)), "TABLE")
    kind = "SCHEMA" if kind == "DATABASE" else kind
    parts = [words.name()]
    while words.take("."):
        parts.append(words.name())
    full_name = _full_name(kind, parts)
    for privilege in privileges:
        if kind not in PRIVILEGES[privilege]:
            raise InvalidRequest(f"{privilege} cannot be granted on a {kind}, only on {sorted(PRIVILEGES[privilege])}")
    words.expect("FROM" if revoke else "TO")
    principal = words.name()
    words.end()
    return GrantChange(privileges=tuple(privileges), kind=kind, full_name=full_name, principal=principal, revoke=revoke)


def _full_name(kind: str, parts: list[str]) -> str:
    if len(parts) != _PARTS[kind]:
        raise InvalidRequest(f"{'.'.join(parts)!r} is not a {kind} name: it needs {_PARTS[kind]} parts, joined by dots")
    if kind == "TABLE":
        return str(TableName(*parts))
    return ".".join(checked_name(kind.lower(), part).lower() for part in parts)


class _Words:
    """The words of one statement, consumed from left to right."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._next = 0

    def _peek(self, ahead: int = 0) -> Token | None:
        index = self._next + ahead
        return self._tokens[index] if index < len(self._tokens) else None

    def take(self, *words: str) -> bool:
        """Consume ``words`` if they come next in this order; return whether they were consumed."""
        # sqlglot joins some words into one token ("ALL PRIVILEGES" in some dialects), so texts are split into words.
        ahead, wanted = 0, list(words)
        while wanted:
            token = self._peek(ahead)
            if token is None or token.token_type in {TokenType.STRING}:
                return False
            text = token.text.upper().split()
            if not text or wanted[: len(text)] != text:
                return False
            wanted = wanted[len(text) :]
            ahead += 1
        self._next += ahead
        return True

    def expect(self, word: str) -> None:
        """Consume ``word``; raise InvalidRequest if it is not the next word."""
        if not self.take(word):
            self._fail(word)

    def name(self) -> str:
        """Consume a name, and return it without backticks; raise InvalidRequest if a string or the end comes next."""
        token = self._peek()
        if token is None or token.token_type == TokenType.STRING or not token.text.strip():
            self._fail("a name")
        self._next += 1
        return token.text

    def text(self) -> str:
        """Consume a quoted string, and return it without quotes; raise InvalidRequest if something else comes next."""
        token = self._peek()
        if token is None or token.token_type != TokenType.STRING:
            self._fail("a text in single quotes")
        self._next += 1
        return token.text

    def privilege(self) -> str:
        """Consume a privilege, and return it; raise InvalidRequest if something else comes next."""
        for privilege in PRIVILEGES:
            if self.take(*privilege.split()):
                return privilege
        return self._fail(f"a privilege ({', '.join(PRIVILEGES)})")

    def end(self) -> None:
        """Raise InvalidRequest unless all words were consumed."""
        if self._peek() is not None:
            self._fail("the end of the statement")

    def _fail(self, expected: str) -> NoReturn:
        token = self._peek() or self._tokens[-1]
        place = f"line {token.line}, column {token.col}"
        found = repr(token.text) if self._peek() else "the end"
        raise InvalidRequest(f"SQL error in {place}: expected {expected}, found {found}")

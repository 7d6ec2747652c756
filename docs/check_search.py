"""Looks up in the search index of the built site what users look for; ``make docs`` runs it on the folder ``site``.

The index is what the search box of the site reads, in the browser and without a server of its own.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

# A search, and a page that must be among its results.
WANTED = {
    "token": "security/",
    "duplicate": "what_happens_when/",
    "execution_timeout": "troubleshooting/",
    "dead letter": "sources/",
    "no acknowledgement within": "troubleshooting/",
    "the local server is probably not running": "troubleshooting/",
    "text is not parsed": "troubleshooting/",
    "null in a NOT NULL column": "troubleshooting/",
    "endpoint and workspace_url are swapped": "troubleshooting/",
    "the certificate of": "troubleshooting/",
    "records is a dict": "troubleshooting/",
    "was changed or removed while it was read": "troubleshooting/",
    "the state belongs to another source": "troubleshooting/",
    "personal access token": "troubleshooting/",
    "no rollback": "concepts/",
}


def lost(site: Path) -> list[str]:
    """The searches that do not find their page."""
    sections = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    return [
        f"a search for {query!r} does not find {page}"
        for query, page in WANTED.items()
        if not any(_matches(query, section) for section in sections if section["location"].startswith(page))
    ]


def _matches(query: str, section: dict[str, str]) -> bool:
    """Whether each word of the query begins a word of the section, as the search box sees it."""
    words = re.split(r"[\s\-]+", re.sub(r"<[^>]*>", "", section["title"] + " " + section["text"]).lower())
    return all(any(word.startswith(part) for word in words) for part in query.lower().split())


if __name__ == "__main__":
    failures = lost(Path(sys.argv[1]))
    if failures:
        sys.exit("\n".join(failures))

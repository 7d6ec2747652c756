"""A run in a child process that stops in the middle of its slice, says so, and waits to be killed.

python -m tests.core.handoffs.held_child TABLE LANDING STATE OWNER CHUNKS
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from zerobus_core import Handoff, IngestOptions, NewFiles, Workspace
from zerobus_core.handoffs import Owner

OPTIONS = IngestOptions(batch_rows=20, max_unacked_bytes=4_000)


class HeldFiles(NewFiles):
    """Calls ``hold`` after so many chunks of rows, or before the first one."""

    def __init__(self, path: str, chunks: int, hold: Callable[[], None]) -> None:
        super().__init__(path)
        self._held_after, self._hold = chunks, hold

    @contextmanager
    def open(self, *given: Any) -> Generator[Any]:
        if not self._held_after:
            self._hold()
        with super().open(*given) as records:
            chunks = records.chunks

            def until_held(skip: Any) -> Iterator[Any]:
                for number, chunk in enumerate(chunks(skip), 1):
                    yield chunk
                    if number == self._held_after:
                        self._hold()

            records.chunks = until_held
            yield records


def main() -> None:
    table, landing, state, owner, chunks = sys.argv[1:]

    def hold() -> None:
        print("held", flush=True)
        sys.stdin.read()

    source = HeldFiles(f"{landing}/*.jsonl", int(chunks), hold)
    Handoff(Workspace.from_env(), table, source, state=state, owner=Owner(key=owner), options=OPTIONS).run()


if __name__ == "__main__":
    main()

"""``StreamManager``, which sends rows as the program produces them, and checks at the end that all rows are durable."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .batch import Chunk
from .delivery import Controls, Delivery, Destination, fetch_schema, source_in_time
from .delivery.arguments import hook_argument, options_argument, table_argument, workspace_argument
from .errors import ConfigurationError, naming_table
from .process.stop_event import StopEvent
from .ranges import RowRanges
from .sources import options_for

if TYPE_CHECKING:
    from .options import IngestOptions
    from .receipt import Progress, Receipt
    from .schema import TableSchema
    from .sources import Source
    from .workspace import Workspace

__all__ = ["StreamManager"]


class StreamManager:
    """Sends rows to one table as the program produces them:

        with StreamManager(workspace, "main.default.flights") as streams:
            for page in pages:
                streams.send(page)
        print(streams.receipt)

    The end of the ``with`` block waits for every acknowledgement, and raises an error if one does not come. If the
    block ends with an exception, the wait is shorter than a second. If ``send`` fails, the delivery has failed, even if
    the caller catches the error.

    Use a StreamManager from one thread at a time; only ``stop`` can be called during another call. Streams are reopened
    only inside ``send`` and ``flush`` and at the end of the block, and delivery errors are raised only there. Outside
    of the block, ``send`` and ``flush`` raise ConfigurationError.
    """

    def __init__(
        self,
        workspace: Workspace,
        table: str,
        *,
        options: IngestOptions | Mapping[str, Any] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._workspace = workspace_argument(workspace)
        self._table = table_argument(table)
        self._options = options_argument(options)
        self._on_progress = hook_argument("on_progress", on_progress)
        self._stop = StopEvent()
        self._scope = ExitStack()
        self._schema: TableSchema | None = None
        self._delivery: Delivery | None = None
        self._kind = ""
        self._failure: BaseException | None = None
        self._is_working = threading.Lock()
        self._next_row = 0
        self._receipt: Receipt | None = None
        self._is_left = False

    def __repr__(self) -> str:
        state = "closed" if self._is_left else "open" if self._schema else "not entered"
        return f"<StreamManager {self._table} {state}, {self._next_row} rows sent>"

    def __enter__(self) -> StreamManager:
        if self._schema is not None:
            raise ConfigurationError("a StreamManager can be entered only once; build another", table=self._table)
        self._schema = fetch_schema(self._workspace, self._table, self._options, stop=self._stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_left = True
        if error is not None:
            self._scope.__exit__(kind, error, trace)
            return
        with self._scope, self._work():
            delivery = self._delivery or self._begin(self._options, is_arrow=False)
            self._receipt = delivery.finish()

    @property
    def receipt(self) -> Receipt:
        """The receipt. Raises ConfigurationError unless the ``with`` block has ended without an exception."""
        if self._receipt is None:
            raise ConfigurationError(
                "there is no receipt until the with block ends without an exception", table=self._table
            )
        return self._receipt

    def send(self, rows: Any) -> None:
        """Send rows in any form that ``ingest`` takes; raise an error if the delivery fails.

        Blocks while too many bytes are unacknowledged. All calls must pass the same kind of rows as the first call.
        There are four kinds: Python rows, Python rows whose text is parsed (such as those of CSV files), Arrow data,
        and Arrow data whose text is parsed.
        """
        schema = self._schema_inside()
        with self._work():
            source = source_in_time(rows, self._options, schema, self._controls)
            delivery = self._delivery_for(source)
            delivery.follow(source)
            delivery.send_all(self._numbered(source), are_in_memory=source.is_in_memory)
            source.on_durable()  # too early, but if the rows do not become durable, the end of the block raises

    def flush(self) -> None:
        """Block until every row sent so far is acknowledged or refused; raise an error if the delivery fails."""
        self._schema_inside()
        with self._work():
            if self._delivery is not None:
                self._delivery.flush()

    def stop(self) -> None:
        """Stop the delivery: a running call, or the next call that sends or waits, raises IngestInterruptedError.

        A running call raises the error within a second. But if it waits for rows from the caller's own code, it can be
        interrupted only in the main thread; in other threads, it raises the error when the next row comes. Any
        thread or signal handler can call ``stop``.
        """
        self._stop.set()

    def progress(self) -> Progress | None:
        """Return the progress of the delivery; None before the first rows are sent."""
        return self._delivery.progress() if self._delivery else None

    @cached_property
    def _controls(self) -> Controls:
        """The delivery's controls. They are built when the first rows are sent; the timeout starts then."""
        return Controls(stop=self._stop, on_progress=self._on_progress)

    def _schema_inside(self) -> TableSchema:
        """Return the table's schema; raise ConfigurationError outside of the ``with`` block.

        Outside of the block, nothing would check that the rows become durable.
        """
        if self._schema is None or self._is_left:
            when = "before" if self._schema is None else "after"
            raise ConfigurationError(
                f"send and flush belong inside the with block of a StreamManager; this call comes {when} it",
                table=self._table,
            )
        return self._schema

    def _numbered(self, source: Source) -> Iterator[Chunk]:
        """Yield the chunks of ``source``; their row positions begin after the last row of earlier ``send`` calls."""
        base = self._next_row
        for chunk in source.chunks(RowRanges()):
            self._next_row = base + chunk.stop_row
            # Arrow data is copied, because it may be sent again after this call, when its owner may have changed it.
            yield Chunk(base + chunk.first_row, _owned(chunk.rows) if source.is_arrow else chunk.rows, chunk.origins)

    @contextmanager
    def _work(self) -> Generator[None]:
        """Guard one call, such as ``send``: if it raises, mark the delivery as failed, because rows are missing.

        The delivery stays failed even if the caller catches the error. The delivery also fails if a second call starts
        before the first has returned: in another thread, or in the user's iterator that is producing the rows.
        """
        if not self._is_working.acquire(blocking=False):
            self._failure = ConfigurationError(
                "another call of this StreamManager is still running: use it from one thread only, and not from an "
                "iterator whose rows it is sending",
                table=self._table,
            )
            raise self._failure
        try:
            self._refuse_after_failure()
            with naming_table(self._table):
                yield
        except BaseException as error:
            self._failure = self._failure or error
            raise
        finally:
            self._is_working.release()

    def _refuse_after_failure(self) -> None:
        if self._failure is not None:
            raise ConfigurationError(
                f"an earlier call failed with {type(self._failure).__name__}, and not all rows were sent, so this "
                "delivery can neither continue nor succeed: let the first error leave the with block, and start "
                "another delivery",
                table=self._table,
            ) from self._failure

    def _delivery_for(self, source: Source) -> Delivery:
        options = options_for(source, self._options)
        kind = f"{'Arrow data' if source.is_arrow else 'Python rows'}{' whose text is parsed' * options.parse_text}"
        if self._delivery is None:
            self._kind = kind
            return self._begin(options, is_arrow=source.is_arrow)
        if kind != self._kind:
            raise ConfigurationError(
                f"the first rows were {self._kind}, but these are {kind}; send only one kind of rows",
                table=self._table,
            )
        return self._delivery

    def _begin(self, options: IngestOptions, *, is_arrow: bool) -> Delivery:
        assert self._schema is not None
        self._delivery = Delivery(
            Destination.of(
                self._workspace,
                self._schema,
                options,
                self._controls,
                is_arrow=is_arrow,
                version=options.source_version,
            ),
            options,
            controls=self._controls,
        )
        self._scope.enter_context(self._delivery.running())
        return self._delivery


def _owned(rows: Any) -> Any:
    from .sources.arrow.arrow import copy_batch  # pyarrow is imported for Arrow only

    return copy_batch(rows)

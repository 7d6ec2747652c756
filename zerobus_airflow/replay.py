"""A task that replays dead letters: it sends their rows to the table once the cause is fixed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from zerobus_core import ConfigurationError
from zerobus_core.hosting import letters_source, replay_options

from .delivery import ZerobusDeliveryOperator

if TYPE_CHECKING:
    from zerobus_core import IngestOptions

    from .compat import Context

__all__ = ["DeadLetterReplayOperator"]


class DeadLetterReplayOperator(ZerobusDeliveryOperator):
    """Send the rows of a dead-letter file to their table; the task succeeds only when every row is durable.

    The file is read when the task runs, so corrections made by hand are sent. The task does not change the file, so
    another run sends the same rows again. Rows that still do not fit the table fail the task, or go to another
    dead-letter file if ``options`` sets one.

    :param dead_letter_uri: the file to read: the ``dead_letter_uri`` of the delivery that wrote it. (templated)

    Only dead letters for ``table`` are sent. For the other parameters see ZerobusDeliveryOperator.
    """

    template_fields: Sequence[str] = (*ZerobusDeliveryOperator.template_fields, "dead_letter_uri")

    def __init__(self, *, dead_letter_uri: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not dead_letter_uri:
            raise ConfigurationError(f"task {self.task_id!r}: dead_letter_uri is empty; pass the path or URI of a file")
        self.dead_letter_uri = dead_letter_uri

    def _ingest_options(self, context: Context) -> IngestOptions:
        return replay_options(super()._ingest_options(context), self.dead_letter_uri)

    def _open_records(self, context: Context) -> AbstractContextManager[Any]:
        return nullcontext(letters_source(self.dead_letter_uri, self.table, self._ingest_options(context)))

    def lineage_inputs(self) -> list[Any]:
        """See ZerobusDeliveryOperator."""
        from .lineage import file_datasets

        return file_datasets(self.dead_letter_uri)

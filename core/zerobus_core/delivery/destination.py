"""The table that a delivery sends its rows to, and the controls of the delivery, such as its stop request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..checkpoint import DigestForm
from ..dedup import delivery_id
from ..encode import ENCODING_VERSION, encoder_for
from ..schema import TableSchema
from ..workspace import ClientCredentials

if TYPE_CHECKING:
    from ..batch import Encoder
    from ..options import IngestOptions
    from ..receipt import Progress
    from ..workspace import Workspace

__all__ = ["Controls", "Destination", "fetch_schema"]

# Seconds for Unity Catalog to describe the table.
_FETCH_TIMEOUT = 30.0
# Seconds for which a process that delivers often uses the cached schema.
_SCHEMA_AGE = 10.0


def fetch_schema(
    workspace: Workspace, table: str, options: IngestOptions, *, stop: threading.Event, refresh: bool = False
) -> TableSchema:
    """Fetch the table's schema in at most 30 s, or in the delivery's timeout if that is shorter.

    A schema that was fetched in the last 10 s is used again. Set ``refresh`` to bypass this cache, so that a checkpoint
    is compared with the current schema. Raises IngestInterruptedError if ``stop`` is set, and the errors of
    ``TableSchema.fetch``.
    """
    longest = _FETCH_TIMEOUT if options.timeout is None else min(_FETCH_TIMEOUT, options.timeout)
    oldest = 0.0 if refresh else _SCHEMA_AGE
    return TableSchema.fetch(workspace, table, timeout=longest, max_age=oldest, stop=stop)


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """The table, and the form in which rows are sent to it."""

    workspace: Workspace
    schema: TableSchema
    encoder: Encoder

    @classmethod
    def of(
        cls,
        workspace: Workspace,
        schema: TableSchema,
        options: IngestOptions,
        controls: Controls,
        *,
        is_arrow: bool,
        version: str | None,
    ) -> Destination:
        """Build the destination: for Arrow data if ``is_arrow`` is set, otherwise for row objects.

        ``version`` is the fingerprint or the ``source_version`` of the source, or None. The option ``delivery_columns``
        needs a version.
        """
        name = options.delivery_name
        identity = delivery_id(schema.table, version, name) if options.delivery_columns else None
        encoder = encoder_for(
            schema,
            options,
            is_arrow=is_arrow,
            delivery_id=identity,
            started_at=controls.started_at,
            arrow_streams=isinstance(workspace.credentials, ClientCredentials),
        )
        return cls(workspace=workspace, schema=schema, encoder=encoder)

    @property
    def takes_tuples(self) -> bool:
        """Whether the encoder accepts ``TupleRows``; the encoder of Arrow records accepts only lists of rows."""
        return self.encoder.record_format != "arrow"

    @property
    def digest_form(self) -> DigestForm:
        """The settings with which the digests of this delivery's rows are computed."""
        return DigestForm(record_format=self.encoder.record_format, encoding=ENCODING_VERSION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """The stop request, the progress hook and the start time of a delivery, as given by the code that runs it."""

    stop: threading.Event = field(default_factory=threading.Event)
    on_progress: Callable[[Progress], None] | None = None
    started: float = field(default_factory=time.monotonic)
    """The start of the delivery, from which ``IngestOptions.timeout`` counts; a reading of ``time.monotonic``."""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """The same moment as a date and time."""

    def deadline(self, options: IngestOptions) -> float:
        """Return the time by which the delivery must end, as a reading of ``time.monotonic``.

        The result is infinite if there is no timeout.
        """
        return float("inf") if options.timeout is None else self.started + options.timeout

"""One run of a handoff, in a child process that may be killed at any moment."""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("RUST_LOG", "off")

import psycopg

import zerobus_core.push
import zerobus_core.sources.files.formats.json_lines
from zerobus_core import ConfigurationError, Handoff, IngestOptions, NewFiles, NewRows, Workspace, ZerobusIngestError
from zerobus_core.handoffs import Owner

# What is in flight when the process dies may be there twice: little in flight, little to repeat.
OPTIONS = IngestOptions(batch_rows=20, max_unacked_bytes=10_000)


def source_of(job: dict[str, Any]) -> NewFiles | NewRows:
    if job["kind"] == "files":
        return NewFiles(job["glob"], on_changed="deliver", max_files=job["max_files"])
    return NewRows(
        lambda: psycopg.connect(job["dsn"]), "SELECT * FROM orders", column="updated_at", key="id", lag=job["lag"]
    )


def deliver(job: dict[str, Any], result: str) -> None:
    """Run once and write the receipt, or the error, to ``result``.  A file that was rewritten is left out."""
    owner = Owner(key=job["owner"], chain=job["chain"])
    handoff = Handoff(
        Workspace.from_env(job["workspace"]), job["table"], source_of(job), state=job["state"], options=OPTIONS,
        owner=owner,
    )  # fmt: skip
    answer: dict[str, Any]
    try:
        answer = handoff.run(on_busy=job["on_busy"]).as_dict()
    except ZerobusIngestError as error:
        answer = {"error": type(error).__name__, "text": str(error), "released": [], "delivered": error.delivered}
        answer["redelivered"] = error.counts.rows_acked if error.redelivered_slice else 0
        open_slice = re.search(r"release --slice (\S+) --file", str(error))
        if open_slice is not None:
            answer["released"] = released(handoff, open_slice[1], str(error))
    hidden = Path(f"{result}.new")
    hidden.write_text(json.dumps(answer))
    hidden.replace(result)


def released(handoff: Handoff, slice_id: str, text: str) -> list[str]:
    """The files of ``text`` that are left out of the slice now; another run may have done so, or finished it."""
    names: list[str] = []
    for name in dict.fromkeys(re.findall(r"part=\d+/\d+\.jsonl", text)):
        with suppress(ConfigurationError):
            handoff.release(name, slice_id=slice_id)
            names.append(name)
    return names


_ = (time, zerobus_core.push)

"""The page as HTML.  Everything that did not come from this file goes through ``escape``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from ..faults import ACTIONS, POINTS

if TYPE_CHECKING:
    from ..observer import TableView
    from ..service import Service
    from ..stream.statistics import StreamStatistics

__all__ = ["live", "page"]

_SHOWN_STREAMS = 50
_SHOWN_ERRORS = 10
_SHOWN_LOG = 8
_LONGEST_CELL = 60
_STATUSES = (
    "UNAVAILABLE",
    "INTERNAL",
    "RESOURCE_EXHAUSTED",
    "INVALID_ARGUMENT",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
)


def page(service: Service, problem: str = "") -> str:
    """The whole page; ``problem`` is what was wrong with the form that was sent."""
    alert = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>zerobus-local</title>
<link rel="stylesheet" href="/local/static/page.css">
<link rel="icon" href="data:,">
<script src="/local/static/page.js" defer></script>
</head>
<body>
<header>
<h1>zerobus-local</h1>
<button type="button" id="pause" hidden aria-pressed="false">Pause</button>
<dl>
<div><dt>Endpoint</dt><dd><code>{escape(service.endpoint)}</code></dd></div>
<div><dt>Workspace</dt><dd><code>{escape(service.workspace_url)}</code></dd></div>
<div><dt>Data</dt><dd><code>{escape(str(service.catalog.data))}</code></dd></div>
</dl>
</header>
<main>
{alert}
<div id="live">{live(service)}</div>
{_fault_form(service)}
</main>
</body>
</html>
"""


def live(service: Service) -> str:
    """The part of the page that changes by itself."""
    return "\n".join((_streams(service), _tables(service), _faults(service), _errors(service)))


def _streams(service: Service) -> str:
    streams = service.streams.statistics()
    rates = service.observer.rates(streams)
    open_streams = [stream for stream in streams if stream.closed_at is None]
    figures = (
        _figure("open streams", f"{len(open_streams):,}")
        + _figure("rows/s", f"{sum(rates.values()):,.0f}")
        + _figure("rows unacknowledged", f"{sum(stream.rows_unacknowledged for stream in open_streams):,}")
        + _curve(service.observer.history())
    )
    rows = [_stream_row(stream, rates) for stream in streams[:_SHOWN_STREAMS]]
    head = ("Table", "Stream", "Format", "State", "Rows", "Rows/s", "Unacknowledged", "ACK latency", "Client")
    return f"""<section aria-labelledby="streams"><h2 id="streams">Streams</h2>
<div class="figures">{figures}</div>
{_table("Open streams, then those that ended lately", head, rows, "No stream has been opened yet.")}</section>"""


def _stream_row(stream: StreamStatistics, rates: dict[str, float]) -> str:
    if stream.closed_at is None:
        state = '<span class="state open">open</span>'
    elif stream.error:
        state = f'<span class="state failed" title="{escape(stream.error)}">failed</span>'
    else:
        state = '<span class="state">closed</span>'
    latency = "" if stream.ack_latency is None else f"{stream.ack_latency * 1000:,.0f} ms"
    rate = f"{rates[stream.stream_id]:,.0f}" if stream.stream_id in rates else ""
    texts = [escape(stream.table), f"{stream.number}", escape(stream.record_format)]
    figures = [f"{stream.rows_received:,}", rate, f"{stream.rows_unacknowledged:,}", latency]
    cells = [*texts, state, *figures, _cell(stream.client)]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _tables(service: Service) -> str:
    views = [view for table in service.catalog.tables() if (view := service.observer.table(table))]
    shown = "".join(_table_view(view) for view in views)
    nothing = (
        '<p class="nothing">No table yet: <code>zerobus-local create-table "CREATE TABLE main.default.t (…)"</code></p>'
    )
    return f'<section aria-labelledby="tables"><h2 id="tables">Tables</h2>{shown or nothing}</section>'


def _table_view(view: TableView) -> str:
    table = view.table
    name = escape(table.full_name)
    names = [column.name for column in table.columns]
    rows = ["<tr>" + "".join(f"<td>{_value(row.get(name))}</td>" for name in names) + "</tr>" for row in view.last_rows]
    place = f"version {view.version} · <code>{escape(str(table.path))}</code>"
    return f"""<article><h3>{name}</h3>
<p><strong>{view.rows:,}</strong> rows <span class="quiet">{place}</span></p>
{_table(f"Last rows of {table.full_name}", names, rows, "No rows yet.")}
<details><summary>Schema of {name}</summary>{_schema(view)}</details></article>"""


def _schema(view: TableView) -> str:
    columns = [
        f"<tr><td>{escape(c.name)}</td><td><code>{escape(c.type_text)}</code></td>"
        f"<td>{'' if c.nullable else 'NOT NULL'}</td><td>{_cell(c.comment or '')}</td></tr>"
        for c in view.table.columns
    ]
    checks = "".join(f"<li><code>{escape(c.name)} CHECK ({escape(c.sql)})</code></li>" for c in view.table.checks)
    head = ("Column", "Type", "Nulls", "Comment")
    return _table(f"Columns of {view.table.full_name}", head, columns, "") + f"<ul>{checks}</ul>"


def _faults(service: Service) -> str:
    rules = [
        f"<tr><td>{number}</td><td><code>{escape(json.dumps(rule.as_dict()))}</code></td>"
        f'<td><form method="post" action="/local/page/faults/{number}/off">'
        f'<button aria-label="Switch fault {number} off">Off</button></form></td></tr>'
        for number, rule in service.faults.list().items()
    ]
    log = [
        f"<tr><td>{_clock(struck.at)}</td><td>{struck.rule}</td><td>{escape(struck.action)}</td>"
        f"<td>{escape(struck.table)}</td><td>{_number(struck.stream)}</td><td>{_number(struck.message)}</td></tr>"
        for struck in service.faults.log()[: -_SHOWN_LOG - 1 : -1]
    ]
    off = '<form method="post" action="/local/page/faults/off"><button>All off</button></form>' if rules else ""
    head = ("Time", "Fault", "Action", "Table", "Stream", "Message")
    return f"""<section aria-labelledby="faults"><h2 id="faults">Faults</h2>
{_table("Faults that are on", ("Number", "Rule", "Switch"), rules, "All faults are off.")}{off}
{_table("What struck lately", head, log, "None struck yet.")}</section>"""


def _fault_form(service: Service) -> str:
    actions = _options(ACTIONS)
    tables = '<option value="">every table</option>' + _options(table.full_name for table in service.catalog.tables())
    return f"""<section aria-labelledby="switch"><h2 id="switch">Switch a fault on</h2>
<form method="post" action="/local/page/faults" class="fault">
<label>Action <select name="action">{actions}</select></label>
<label>Table <select name="table">{tables}</select></label>
<label>Stream <input name="stream" inputmode="numeric" placeholder="every"></label>
<label>Message <input name="message" inputmode="numeric" placeholder="every"></label>
<label>Times <input name="times" inputmode="numeric" placeholder="always"></label>
<label>Probability <input name="probability" inputmode="decimal" placeholder="1"></label>
<label>Point <select name="at">{_options(POINTS)}</select></label>
<label>Status <select name="status">{_options(_STATUSES)}</select></label>
<label>Seconds <input name="seconds" inputmode="decimal" placeholder="0"></label>
<label>Predicate <input name="predicate" placeholder="price &lt; 0"></label>
<label>HTTP status <input name="http_status" inputmode="numeric" placeholder="503"></label>
<button>Switch on</button>
</form>
<p class="quiet">An action takes the fields that it knows; the others are left out.</p></section>"""


def _errors(service: Service) -> str:
    rows = [
        f"<tr><td>{_clock(error['at'])}</td><td>{escape(error['table'])}</td><td>{escape(error['error'])}</td></tr>"
        for error in service.streams.errors()[:_SHOWN_ERRORS]
    ]
    table = _table("The last errors", ("Time", "Table", "Error"), rows, "No stream was refused or failed.")
    return f'<section aria-labelledby="errors"><h2 id="errors">Errors</h2>{table}</section>'


def _table(caption: str, head: Iterable[str], rows: list[str], nothing: str) -> str:
    if not rows:
        return f'<p class="nothing">{escape(nothing)}</p>' if nothing else ""
    cells = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _figure(name: str, value: str) -> str:
    return f'<p class="figure"><strong>{value}</strong> {name}</p>'


def _curve(history: list[float]) -> str:
    if len(history) < 2:  # noqa: PLR2004  # a line needs two points
        return ""
    top = max(*history, 1.0)
    points = " ".join(f"{index * 4},{40 - 36 * rate / top:.1f}" for index, rate in enumerate(history))
    label = f"Rows per second over the last minute, at most {top:,.0f}"
    return (
        f'<svg class="curve" viewBox="0 0 {4 * (len(history) - 1)} 42" preserveAspectRatio="none" role="img" '
        f'aria-label="{label}"><polyline points="{points}"/></svg>'
    )


def _options(names: Iterable[str]) -> str:
    return "".join(f"<option>{escape(name)}</option>" for name in names)


def _value(value: object) -> str:
    if value is None:
        return '<span class="quiet">NULL</span>'
    return _cell(value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False).strip('"'))


def _cell(text: str) -> str:
    if len(text) <= _LONGEST_CELL:
        return escape(text)
    return f'<span title="{escape(text[:1000])}">{escape(text[:_LONGEST_CELL])}…</span>'


def _number(number: int | None) -> str:
    return "" if number is None else str(number)


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))

"""Renders the server's web page as HTML. Every text that comes from a user or a client is escaped."""

from __future__ import annotations

import json
import time
from collections.abc import Container, Iterable, Mapping
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
_LONGEST_ERROR = 240
_RIGHT = ' class="number"'
_NUMBERS = ("tinyint", "smallint", "int", "bigint", "float", "double", "decimal")
_STATUSES = (
    "UNAVAILABLE",
    "INTERNAL",
    "RESOURCE_EXHAUSTED",
    "INVALID_ARGUMENT",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
)

# Fields of the form: name, label, keyboard, and placeholder (the default value, or an example).
_FIELDS = (
    ("at", "Point", "text", ""),
    ("status", "Status", "text", ""),
    ("text", "Text", "text", "injected fault"),
    ("seconds", "Seconds", "decimal", "0"),
    ("predicate", "Predicate", "text", "price < 0"),
    ("http_status", "HTTP status", "numeric", "503"),
)
_WHENS = (
    ("stream", "Stream", "numeric", "every"),
    ("message", "Message", "numeric", "every"),
    ("times", "Times", "numeric", "always"),
    ("probability", "Probability", "decimal", "1"),
)
_CHOICES = {"at": POINTS, "status": _STATUSES}


def page(service: Service, problem: str = "", form: Mapping[str, str] | None = None) -> str:
    """Return the whole page.

    If a submitted form was invalid, ``form`` contains its fields and ``problem`` is the error message; the page shows
    both.
    """
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
<div id="live">{live(service)}</div>
{_fault_form(service, problem, form or {})}
</main>
</body>
</html>
"""


def live(service: Service) -> str:
    """Return the part of the page that the page's script refreshes."""
    return "\n".join((_streams(service), _tables(service), _faults(service), _errors(service)))


def _streams(service: Service) -> str:
    streams = service.streams.statistics()
    rates = service.observer.rates(streams)
    open_streams = [stream for stream in streams if stream.closed_at is None]
    ended = [stream for stream in streams if stream.closed_at is not None]
    figures = (
        _figure("open streams", f"{len(open_streams):,}")
        + _figure("rows/s", f"{sum(rates.values()):,.0f}")
        + _figure("rows unacknowledged", f"{sum(stream.rows_unacknowledged for stream in open_streams):,}")
        + _curve(service.observer.history())
    )
    nothing = "No stream is open." if ended else "No stream has been opened yet."
    return f"""<section aria-labelledby="streams" class="streams"><h2 id="streams">Streams</h2>
<div class="figures">{figures}</div>
{_streams_table("Open streams", open_streams, rates, nothing)}
{_ended_streams(ended, rates)}</section>"""


def _ended_streams(ended: list[StreamStatistics], rates: dict[str, float]) -> str:
    if not ended:
        return ""
    failed = sum(1 for stream in ended if stream.error)
    what = f"{len(ended):,} {'stream that has' if len(ended) == 1 else 'streams that have'} ended"
    summary = f"{what}, {failed:,} of them failed" if failed else what
    return _folded("ended", summary, _streams_table("Streams that ended, the last one first", ended, rates, ""))


def _streams_table(caption: str, streams: list[StreamStatistics], rates: dict[str, float], nothing: str) -> str:
    head = ("Table", "Stream", "Format", "State", "Rows", "Rows/s", "Unacknowledged", "ACK latency", "Client")
    rows = [_stream_row(stream, rates) for stream in streams[:_SHOWN_STREAMS]]
    return _table(caption, head, rows, nothing, numbers={"Stream", "Rows", "Rows/s", "Unacknowledged", "ACK latency"})


def _stream_row(stream: StreamStatistics, rates: dict[str, float]) -> str:
    if stream.closed_at is None:
        state = '<span class="state open">open</span>'
    elif stream.error:
        state = f'<span class="state failed" title="{escape(stream.error)}">failed</span>'
    else:
        state = '<span class="state">closed</span>'
    latency = "" if stream.ack_latency is None else f"{stream.ack_latency * 1000:,.0f} ms"
    rate = f"{rates[stream.stream_id]:,.0f}" if stream.stream_id in rates else ""
    texts = [_text(escape(stream.table)), _figures(f"{stream.number}"), _text(escape(stream.record_format))]
    figures = [f"{stream.rows_received:,}", rate, f"{stream.rows_unacknowledged:,}", latency]
    return _row([*texts, _text(state), *map(_figures, figures), _text(_cell(stream.client))])


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
    numbers = {column.name for column in table.columns if _is_number(column.type_text)}
    rows = [
        _row([(_figures if name in numbers else _text)(_value(row.get(name))) for name in names])
        for row in view.last_rows
    ]
    place = f"version {view.version} · <code>{escape(str(table.path))}</code>"
    return f"""<article><h3>{name}</h3>
<p><strong>{view.rows:,}</strong> rows <span class="quiet">{place}</span></p>
{_table(f"Last rows of {table.full_name}, the newest first", names, rows, "No rows yet.", numbers=numbers)}
{_folded(f"schema of {table.full_name}", f"Schema of {table.full_name}", _schema(view))}</article>"""


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
        f'<tr>{_figures(str(number))}<td class="long"><code>{escape(json.dumps(rule.as_dict()))}</code></td>'
        f'<td><form method="post" action="/local/page/faults/{number}/off">'
        f'<button aria-label="Switch fault {number} off">Off</button></form></td></tr>'
        for number, rule in service.faults.list().items()
    ]
    log = [
        f"<tr><td>{_clock(struck.at)}</td>{_figures(str(struck.rule))}<td>{escape(struck.action)}</td>"
        f"<td>{escape(struck.table)}</td>{_figures(_number(struck.stream))}{_figures(_number(struck.message))}</tr>"
        for struck in service.faults.log()[: -_SHOWN_LOG - 1 : -1]
    ]
    off = '<form method="post" action="/local/page/faults/off"><button>All off</button></form>' if rules else ""
    head = ("Time", "Fault", "Action", "Table", "Stream", "Message")
    return f"""<section aria-labelledby="faults"><h2 id="faults">Faults</h2>
{_table("Faults that are on", ("Number", "Rule", "Switch"), rules, "All faults are off.", numbers={"Number"})}{off}
{_table("Recent faults", head, log, "No fault has happened yet.", numbers={"Fault", "Stream", "Message"})}</section>"""


def _fault_form(service: Service, problem: str, form: Mapping[str, str]) -> str:
    alert = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    tables = _options((table.full_name for table in service.catalog.tables()), form.get("table"))
    fields = "".join(_field(name, *rest, value=form.get(name, "")) for name, *rest in _FIELDS)
    return f"""<section aria-labelledby="switch" class="switch"><h2 id="switch">Switch a fault on</h2>{alert}
<form method="post" action="/local/page/faults" class="fault">
<label class="wide">Action <select name="action">{_options(ACTIONS, form.get("action"))}</select></label>
{fields}
<label class="wide">Table <select name="table"><option value="">every table</option>{tables}</select></label>
{"".join(_field(name, *rest, value=form.get(name, "")) for name, *rest in _WHENS)}
<button>Switch on</button>
</form></section>"""


def _field(name: str, label: str, kind: str, placeholder: str, *, value: str) -> str:
    """Return a labelled field for one parameter of a fault.

    The page's script hides the field if the chosen action does not have the parameter.
    """
    actions = " ".join(action for action, fields in ACTIONS.items() if name in fields)
    mark = f' data-actions="{actions}"' if actions else ""
    if name in _CHOICES:
        return f'<label{mark}>{label} <select name="{name}">{_options(_CHOICES[name], value)}</select></label>'
    return (
        f'<label{mark}>{label} <input name="{name}" inputmode="{kind}" placeholder="{escape(placeholder)}" '
        f'value="{escape(value)}"></label>'
    )


def _errors(service: Service) -> str:
    rows = [
        f"<tr><td>{_clock(error['at'])}</td><td>{escape(error['table'])}</td>"
        f'<td class="long">{_cell(error["error"], _LONGEST_ERROR)}</td></tr>'
        for error in service.streams.errors()[:_SHOWN_ERRORS]
    ]
    table = _table("The last errors", ("Time", "Table", "Error"), rows, "No stream was refused, and none has failed.")
    return f'<section aria-labelledby="errors"><h2 id="errors">Errors</h2>{table}</section>'


def _folded(key: str, summary: str, inner: str) -> str:
    """Return a collapsible section; the page's script uses ``key`` to keep an open section open after a refresh."""
    return f'<details data-key="{escape(key)}"><summary>{escape(summary)}</summary>{inner}</details>'


def _table(
    caption: str, head: Iterable[str], rows: list[str], nothing: str, *, numbers: Container[str] = frozenset()
) -> str:
    """Return an HTML table; if ``rows`` is empty, return a paragraph that contains the message ``nothing`` instead.

    If ``nothing`` is empty, too, return an empty string. ``numbers`` are the headings of the columns that are aligned
    to the right.
    """
    if not rows:
        return f'<p class="nothing">{escape(nothing)}</p>' if nothing else ""
    cells = "".join(f'<th scope="col"{_RIGHT if text in numbers else ""}>{escape(text)}</th>' for text in head)
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _row(cells: Iterable[str]) -> str:
    return f"<tr>{''.join(cells)}</tr>"


def _text(cell: str) -> str:
    return f"<td>{cell}</td>"


def _figures(cell: str) -> str:
    return f"<td{_RIGHT}>{cell}</td>"


def _is_number(type_text: str) -> bool:
    return type_text.lower().startswith(_NUMBERS)


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


def _options(names: Iterable[str], chosen: str | None) -> str:
    return "".join(f"<option{' selected' if name == chosen else ''}>{escape(name)}</option>" for name in names)


def _value(value: object) -> str:
    if value is None:
        return '<span class="quiet">NULL</span>'
    return _cell(value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False).strip('"'))


def _cell(text: str, longest: int = _LONGEST_CELL) -> str:
    if len(text) <= longest:
        return escape(text)
    return f'<span title="{escape(text[:1000])}">{escape(text[:longest])}…</span>'


def _number(number: int | None) -> str:
    return "" if number is None else str(number)


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))

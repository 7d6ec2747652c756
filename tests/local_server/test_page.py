"""The page at /, asked over HTTP and read with an HTML parser, its forms sent as a browser sends them."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import httpx
import pytest
from deltalake import DeltaTable
from zerobus.sdk.shared import RecordType, StreamConfigurationOptions, TableProperties
from zerobus.sdk.sync import ZerobusSdk

from zerobus_core import ClientCredentials
from zerobus_local import LocalZerobus

VOID = {"meta", "link", "input", "br", "polyline"}


class Page(HTMLParser):
    """What a test asks of a page; a tag that is not closed in order is an error."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self._open: list[str] = []
        self.text = ""
        self.scripts: list[str | None] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.forms: list[dict[str, str | None]] = []
        self.unlabelled: list[str] = []
        self._caption = ""
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if tag == "script":
            self.scripts.append(known.get("src"))
        if tag == "form":
            self.forms.append(known)
        if tag in {"input", "select"} and "label" not in self._open:
            self.unlabelled.append(str(known))
        if tag == "caption":
            self._caption = ""
        if tag == "tr":
            self.tables.setdefault(self._caption, []).append([])
        if tag in {"td", "th"}:
            self.tables[self._caption][-1].append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "caption" in self._open:
            self._caption += data
        elif {"td", "th"} & set(self._open):
            self.tables[self._caption][-1][-1] += data


def show(server: LocalZerobus) -> Page:
    answer = httpx.get(server.workspace_url)
    assert answer.status_code == 200
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    return Page(answer.text)


def press(server: LocalZerobus, path: str, **fields: str) -> httpx.Response:
    headers = {"origin": server.workspace_url}
    return httpx.post(f"{server.workspace_url}{path}", data=fields, headers=headers, follow_redirects=True)


def ingest(server: LocalZerobus, rows: int) -> None:
    known = server.workspace.credentials
    assert isinstance(known, ClientCredentials)
    stream = ZerobusSdk(server.endpoint, server.workspace_url).create_stream(
        known.client_id,
        known.client_secret,
        TableProperties("main.default.t"),
        StreamConfigurationOptions(record_type=RecordType.JSON, recovery=False),
    )
    stream.ingest_records_offset([{"id": number, "name": "<b>&bold"} for number in range(rows)])
    stream.flush()
    stream.close()


def test_an_empty_server_says_what_to_do_first(server: LocalZerobus) -> None:
    page = show(server)
    assert "No table yet" in page.text
    assert "No stream has been opened yet." in page.text
    assert "All faults are off." in page.text
    assert server.endpoint in page.text
    secret = server.catalog.principals.default.client_secret
    assert secret not in httpx.get(server.workspace_url).text


def test_tables_are_shown_with_schema_row_count_and_last_rows(server: LocalZerobus) -> None:
    server.create_table(
        "CREATE TABLE main.default.t (id BIGINT NOT NULL COMMENT '<script>alert(1)</script>', name STRING, v VARIANT)"
    )
    ingest(server, 1200)
    page = show(server)
    assert page.scripts == ["/local/static/page.js"]
    assert "1,200 rows" in page.text
    assert page.tables["Columns of main.default.t"][1] == ["id", "bigint", "NOT NULL", "<script>alert(1)</script>"]
    assert page.tables["Last rows of main.default.t, the newest first"][:2] == [
        ["id", "name", "v"],
        ["1199", "<b>&bold", "NULL"],
    ]
    assert "1 stream that has ended" in page.text
    [_, stream] = page.tables["Streams that ended, the last one first"]
    assert stream[:3] == ["main.default.t", "1", "json"]
    assert stream[4] == "1,200"


def last_ids(server: LocalZerobus) -> list[str]:
    return [row[0] for row in show(server).tables["Last rows of main.default.t, the newest first"][1:]]


def test_the_last_rows_are_those_of_the_last_commits_whatever_file_they_are_in(server: LocalZerobus) -> None:
    server.create_table("CREATE TABLE main.default.t (id BIGINT, name STRING)")
    for number in range(7):
        server.sql(f"INSERT INTO main.default.t VALUES ({number}, 'a')")
    assert last_ids(server) == ["6", "5", "4", "3", "2"]
    server.sql("INSERT INTO main.default.t VALUES (7, 'a'), (8, 'a')")
    assert last_ids(server) == ["8", "7", "6", "5", "4"]
    [table] = server.catalog.tables()
    DeltaTable(table.path).optimize.compact()
    assert last_ids(server) == ["8", "7", "6", "5", "4"]
    DeltaTable(table.path).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert len(last_ids(server)) == 5
    server.sql("INSERT INTO main.default.t VALUES (9, 'a')")
    server.sql("DELETE FROM main.default.t WHERE id = 9")
    assert "9" not in last_ids(server)


def test_numbers_are_aligned_to_the_right_in_head_and_cells(server: LocalZerobus) -> None:
    server.create_table("CREATE TABLE main.default.t (id BIGINT, name STRING, price DECIMAL(9,2))")
    server.sql("INSERT INTO main.default.t VALUES (1, 'a', 2.5)")
    html = httpx.get(server.workspace_url).text
    assert '<th scope="col" class="number">id</th><th scope="col">name</th><th scope="col" class="number">price' in html
    assert '<tr><td class="number">1</td><td>a</td><td class="number">2.50</td></tr>' in html


def test_the_last_rows_of_a_partitioned_table_show_their_partition(server: LocalZerobus) -> None:
    server.create_table("CREATE TABLE main.default.t (id BIGINT, name STRING) PARTITIONED BY (name)")
    ingest(server, 2)
    assert show(server).tables["Last rows of main.default.t, the newest first"][1] == ["1", "<b>&bold"]


def test_every_input_has_a_label_and_every_form_posts_to_this_server(server: LocalZerobus) -> None:
    server.faults.add(action="hang_open")
    page = show(server)
    assert page.unlabelled == []
    assert len(page.forms) == 3
    assert all(form["method"] == "post" and str(form["action"]).startswith("/local/") for form in page.forms)


def test_faults_are_switched_by_the_forms_and_show_when_they_struck(server: LocalZerobus) -> None:
    server.create_table("CREATE TABLE main.default.t (id BIGINT, name STRING)")
    fields = {"action": "delay_ack", "seconds": "0.01", "table": "main.default.t", "times": "1", "status": "INTERNAL"}
    page = Page(press(server, "/local/page/faults", **fields).text)
    [_, [number, rule, _]] = page.tables["Faults that are on"]
    assert number == "1"
    assert json.loads(rule) == {"action": "delay_ack", "seconds": 0.01, "table": "main.default.t", "times": 1}
    ingest(server, 1)
    assert show(server).tables["Recent faults"][1][1:] == ["1", "delay_ack", "main.default.t", "1", "0"]
    press(server, "/local/page/faults", action="hang_open", table="")
    assert len(server.faults.list()) == 2
    press(server, "/local/page/faults/1/off")
    assert list(server.faults.list()) == [2]
    assert "All faults are off." in press(server, "/local/page/faults/off").text


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"action": "fly"}, "unknown fault 'fly'"),
        ({}, "unknown fault ''"),
        ({"action": "delay_ack", "seconds": "soon"}, 'seconds "soon" is not a number'),
        ({"action": "refuse_records", "predicate": ""}, "needs a predicate"),
        ({"action": "delay_ack", "seconds": "-1"}, "is not between 0 and"),
        ({"action": "<script>"}, "unknown fault '<script>'"),
    ],
)
def test_a_form_that_is_wrong_is_answered_with_the_page_and_the_reason(
    server: LocalZerobus, fields: dict[str, str], says: str
) -> None:
    answer = press(server, "/local/page/faults", **fields)
    assert answer.status_code == 400
    page = Page(answer.text)
    assert says in page.text
    if seconds := fields.get("seconds"):
        assert f'name="seconds" inputmode="decimal" placeholder="0" value="{seconds}"' in answer.text
    assert page.scripts == ["/local/static/page.js"]
    assert server.faults.list() == {}


def test_a_form_on_another_site_cannot_switch_anything(server: LocalZerobus) -> None:
    url = f"{server.workspace_url}/local/page/faults"
    headers = {"origin": "http://evil.example"}
    assert httpx.post(url, data={"action": "hang_open"}, headers=headers).status_code == 403
    assert server.faults.list() == {}


def test_refused_streams_stand_among_the_last_errors(server: LocalZerobus) -> None:
    url = f"{server.workspace_url}/zerobus/v1/tables/main.default.nope/insert"
    httpx.post(url, content=b"[{}]", headers={"authorization": "Bearer x"})
    [_, [_, table, error]] = show(server).tables["The last errors"]
    assert table == "main.default.nope"
    assert "UNAUTHENTICATED" in error


def test_the_page_has_its_style_and_script_and_nothing_else(server: LocalZerobus) -> None:
    for name, kind in (("page.css", "text/css"), ("page.js", "text/javascript")):
        answer = httpx.get(f"{server.workspace_url}/local/static/{name}")
        assert answer.headers["content-type"].startswith(kind)
        assert len(answer.text) > 500
    assert httpx.get(f"{server.workspace_url}/local/static/handlers.py").status_code == 404
    Page(httpx.get(f"{server.workspace_url}/local/page").text)


def test_a_table_that_is_dropped_and_made_again_is_shown_anew(server: LocalZerobus) -> None:
    server.create_table("CREATE TABLE main.default.t (id BIGINT, name STRING)")
    ingest(server, 7)
    assert "7 rows" in show(server).text
    server.sql("CREATE OR REPLACE TABLE main.default.t (id BIGINT, name STRING, more INT)")
    page = show(server)
    assert "0 rows" in page.text
    assert len(page.tables["Columns of main.default.t"]) == 4

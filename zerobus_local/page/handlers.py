"""The HTTP routes of the server's web page."""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, RedirectResponse, Response

from ..errors import InvalidRequest, NotFound
from ..faults import ACTIONS
from . import render

if TYPE_CHECKING:
    from ..http.call import Call, Handler

__all__ = ["ROUTES"]

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
}
_STATIC = {"page.css": "text/css", "page.js": "text/javascript"}
# Fields that a form sends as text, and a rule needs as a number.
_NUMBERS: dict[str, type[int] | type[float]] = {
    "times": int,
    "stream": int,
    "message": int,
    "http_status": int,
    "seconds": float,
    "probability": float,
}


def show(call: Call) -> Response:
    """Answer GET /."""
    return HTMLResponse(render.page(call.service), headers=_HEADERS)


def show_live(call: Call) -> Response:
    """Answer GET /local/page with the part of the page that the page's script refreshes."""
    return HTMLResponse(render.live(call.service), headers=_HEADERS)


def static(call: Call) -> Response:
    """Answer GET /local/static/{name}."""
    name = call.path["name"]
    if name not in _STATIC:
        raise NotFound(f"there is no file {name!r}")
    content = resources.files(__package__).joinpath(name).read_bytes()
    return Response(content, media_type=_STATIC[name], headers={"x-content-type-options": "nosniff"})


def add_fault(call: Call) -> Response:
    """Answer POST /local/page/faults: switch on the fault that the form describes, and redirect to the page.

    If the fault is invalid, the answer has status 400, and the page shows what is wrong.
    """
    form = call.form()
    try:
        call.service.faults.add(_rule(form))
    except (ValueError, TypeError, InvalidRequest) as error:
        return HTMLResponse(render.page(call.service, problem=str(error), form=form), 400, headers=_HEADERS)
    return _back()


def clear_faults(call: Call) -> Response:
    """Answer POST /local/page/faults/off: switch off all faults, and redirect to the page."""
    call.service.faults.clear()
    return _back()


def remove_fault(call: Call) -> Response:
    """Answer POST /local/page/faults/{number}/off: switch off one fault, if it is still on; redirect to the page."""
    number = call.path["number"]
    if number.isdecimal():
        call.service.faults.remove(int(number))
    return _back()


def _back() -> Response:
    return RedirectResponse("/#faults", 303)


def _rule(form: dict[str, str]) -> dict[str, Any]:
    """Return the fault rule that the form describes; ignore fields that do not apply to the rule's action.

    Raises ValueError if the text of a numeric field is not a number.
    """
    action = form.get("action", "")
    whens = {"table", "stream", "message", "probability", "times"}
    rule: dict[str, Any] = {"action": action}
    for name, text in form.items():
        if not text.strip() or name not in whens | ACTIONS.get(action, frozenset()):
            continue
        try:
            rule[name] = _NUMBERS.get(name, str)(text.strip())
        except ValueError as error:
            raise ValueError(f"{name} {json.dumps(text)} is not a number") from error
    return rule


ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", "/", show),
    ("GET", "/local/page", show_live),
    ("GET", "/local/static/{name}", static),
    ("POST", "/local/page/faults", add_fault),
    ("POST", "/local/page/faults/off", clear_faults),
    ("POST", "/local/page/faults/{number}/off", remove_fault),
]

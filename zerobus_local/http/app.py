"""The HTTP application: assigns routes to handlers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from . import control, insert, oauth, sql, unity
from .call import Handler, answer_http_error, endpoint

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from ..service import Service

__all__ = ["build_app"]

_UNITY = "/api/2.1/unity-catalog"
_ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", "/.well-known/databricks-config", oauth.databricks_config),
    ("GET", "/oidc/.well-known/oauth-authorization-server", oauth.server_metadata),
    ("POST", "/oidc/v1/token", oauth.token),
    ("GET", f"{_UNITY}/tables", unity.list_tables),
    ("GET", f"{_UNITY}/tables/{{full_name}}", unity.get_table),
    ("GET", f"{_UNITY}/tables/{{full_name}}/exists", unity.get_table_exists),
    ("GET", f"{_UNITY}/catalogs", unity.list_catalogs),
    ("GET", f"{_UNITY}/catalogs/{{name}}", unity.get_catalog),
    ("GET", f"{_UNITY}/schemas", unity.list_schemas),
    ("GET", f"{_UNITY}/schemas/{{full_name}}", unity.get_schema),
    ("GET", f"{_UNITY}/permissions/{{securable_type}}/{{full_name}}", unity.get_permissions),
    ("GET", f"{_UNITY}/effective-permissions/{{securable_type}}/{{full_name}}", unity.get_effective_permissions),
    ("GET", "/api/2.0/preview/scim/v2/Me", unity.me),
    ("POST", "/api/2.0/sql/statements", sql.execute_statement),
    ("POST", "/zerobus/v1/tables/{full_name}/insert", insert.insert),
    ("GET", "/local/faults", control.list_faults),
    ("POST", "/local/faults", control.add_fault),
    ("DELETE", "/local/faults", control.clear_faults),
    ("DELETE", "/local/faults/{number}", control.remove_fault),
    ("GET", "/local/streams", control.list_streams),
    ("POST", "/local/principals", control.create_principal),
    ("POST", "/local/sql", control.run_sql),
    ("POST", "/local/expire-tokens", control.expire_tokens),
]


class SameOrigin:
    """Refuses requests that a page of another site makes through a browser. GET, HEAD and OPTIONS are always allowed.

    A request comes from a page of another site if its Origin header and its Host header contain different hosts.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused request with 403; pass any other request on."""
        if scope["type"] == "http" and scope["method"] not in {"GET", "HEAD", "OPTIONS"}:
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if origin is not None and origin.partition("://")[2] != headers.get("host"):
                body = {"error_code": "PERMISSION_DENIED", "message": "requests from other origins are refused"}
                await JSONResponse(body, 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def build_app(service: Service, *, hosts: list[str], pages: Sequence[tuple[str, str, Handler]]) -> Starlette:
    """Return the ASGI application.

    Requests must have one of ``hosts`` in their Host header, as a protection against DNS rebinding. ``pages`` are
    the routes of the web page, as tuples of method, path and handler.
    """
    app = Starlette(
        routes=[Route(path, endpoint(handler), methods=[method]) for method, path, handler in (*_ROUTES, *pages)],
        exception_handlers={HTTPException: answer_http_error},
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
            Middleware(SameOrigin),
        ],
    )
    app.state.service = service
    return app

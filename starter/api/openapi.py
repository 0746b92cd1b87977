"""The API's description: errors are problem documents, and the routes' own words stay.

`/docs` shows it with a Swagger UI of our own: no other host is asked for anything.
"""

from __future__ import annotations

from html import escape
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse

from reminders.domain.delivery_errors import DeliveryError
from reminders.domain.errors import (
    ConflictError,
    DatabaseUnavailableError,
    InvalidInputError,
    NotFoundError,
)
from starter.api.errors import (
    HTTP_KINDS,
    MEDIA_TYPE,
    TYPES,
    ForbiddenError,
    Problem,
    TooManyRequestsError,
    UnauthorizedError,
)

_REFERENCE = "#/components/schemas/Problem"
_EXAMPLES = {
    **HTTP_KINDS,
    **{
        kind.status: (kind.slug, kind.title)
        for kind in (
            UnauthorizedError,
            ForbiddenError,
            NotFoundError,
            ConflictError,
            InvalidInputError,
            TooManyRequestsError,
            DeliveryError,
            DatabaseUnavailableError,
        )
    },
}
"""A kind of problem that has this status, and its title."""
_FRAMEWORKS_OWN = ("HTTPValidationError", "ValidationError")
"""Schemas of errors as the framework would answer them."""


_PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>Session reminders: API</title>
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <link rel="icon" href="/static/admin/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="/static/swagger-ui/swagger-ui.css">
</head>
<body>
  <div id="swagger-ui"></div>
  <script src="/static/swagger-ui/swagger-ui-bundle.js"></script>
  <script src="/static/swagger-ui/initializer.js"></script>
</body>
</html>
"""
_HEADERS = {
    # Swagger UI styles its elements one by one, and has its icons as data.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
        " img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
}


def install(app: FastAPI) -> None:
    """Describe every error of an application as what `problems` answers, and show it at `/docs`."""

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        root = escape(request.scope.get("root_path", ""))
        return HTMLResponse(_PAGE.replace('="/static', f'="{root}/static'), headers=_HEADERS)

    @app.get("/openapi.json", include_in_schema=False)
    async def description(request: Request) -> JSONResponse:
        root = request.scope.get("root_path", "")
        return JSONResponse(app.openapi() | ({"servers": [{"url": root}]} if root else {}))

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _describe(app)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # the framework's documented way


def _describe(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in _FRAMEWORKS_OWN:
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs")
    schemas["Problem"] = problem
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if status.startswith(("4", "5")):
                    _describe_error(response, int(status), path)
    return document


def _describe_error(response: dict[str, Any], status: int, path: str) -> None:
    """Say that an error is a problem document, beside the page that a browser gets; with an example."""
    content: dict[str, Any] = {
        kind: {} for kind in response.get("content", {}) if kind == "text/html"
    }
    kind = _EXAMPLES.get(status)
    described: dict[str, Any] = {"schema": {"$ref": _REFERENCE}}
    if kind is not None:
        slug, title = kind
        described["example"] = {
            "type": TYPES + slug,
            "title": title,
            "status": status,
            "detail": response["description"],
            "instance": path,
        }
        if status == HTTPStatus.UNPROCESSABLE_ENTITY:
            described["example"]["errors"] = [{"field": "session_id", "message": "is not a UUID"}]
    response["content"] = {**content, MEDIA_TYPE: described}

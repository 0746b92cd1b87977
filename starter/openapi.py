"""The API's description: errors are problem documents, and the routes' own words stay."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from starter.problems import MEDIA_TYPE, Problem

_REFERENCE = "#/components/schemas/Problem"
_FRAMEWORKS_OWN = ("HTTPValidationError", "ValidationError")
"""Schemas of errors as the framework would tell them."""


def install(app: FastAPI) -> None:
    """Describe every error of an application as what `problems` answers."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _describe(app)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # the framework's documented way


def _describe(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, summary=app.summary, routes=app.routes
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in _FRAMEWORKS_OWN:
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs")
    schemas["Problem"] = problem
    for path in document["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if status.startswith(("4", "5")):
                    response["content"] = {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE}}}
    return document

"""The OpenAPI 3.1 description, made from the table of operations and the wire types."""

from __future__ import annotations

from typing import Any

import msgspec

from settlement.api.examples import ANSWERS, REQUESTS
from settlement.api.operations import OPERATIONS, Operation
from settlement.errors import CATALOGUE
from terminal_sdk import wire
from terminal_sdk.signing import MAC_HEADER, NONCE_HEADER, SESSION_HEADER, TIME_HEADER

_REF = "#/components/schemas/{name}"
_HEADERS = {
    SESSION_HEADER: ("The session's id.", {"type": "string", "format": "uuid"}),
    TIME_HEADER: ("The time, in milliseconds since 1970.", {"type": "string", "pattern": "^[0-9]{13}$"}),
    NONCE_HEADER: ("Never used twice.", {"type": "string", "pattern": "^[A-Za-z0-9_-]{16,64}$"}),
    MAC_HEADER: ("HMAC-SM3 of the request, in hex.", {"type": "string", "pattern": "^[0-9a-f]{64}$"}),
}
_PAGES = {
    "/healthz": ("health", "Is the process alive?", {"200": "It is."}),
    "/readyz": ("readiness", "Can bills be settled now?", {"200": "Yes.", "503": "No; the reasons are listed."}),
    "/metrics": ("metrics", "Prometheus metrics", {"200": "Text exposition format."}),
    "/openapi.json": ("openapi", "This description", {"200": "OpenAPI 3.1."}),
    "/docs": ("docs", "This description as a page", {"200": "HTML."}),
}


def openapi(version: str) -> dict[str, Any]:
    """The whole description, as JSON values."""
    types = {operation.answer for operation in OPERATIONS} | {wire.ErrorBody}
    types |= {operation.request for operation in OPERATIONS if operation.request is not None}
    _, schemas = msgspec.json.schema_components(sorted(types, key=lambda kind: kind.__name__), ref_template=_REF)
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    for path, (name, summary, statuses) in _PAGES.items():
        responses = {status: {"description": meaning} for status, meaning in statuses.items()}
        paths[path] = {"get": {"operationId": name, "summary": summary, "tags": ["service"], "responses": responses}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Medical settlement: terminal interface",
            "version": version,
            "description": "One card read settles the whole bill. Amounts are whole fen (1/100 CNY); times are UTC. "
            "How requests are signed is described in docs/reference/terminal-api.md.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                name: {"type": "apiKey", "in": "header", "name": name, "description": meaning}
                for name, (meaning, _) in _HEADERS.items()
            },
            "headers": {
                MAC_HEADER: {
                    "description": "HMAC-SM3 over status, the request's nonce and the body's digest: an answer "
                    "without it proves nothing.",
                    "schema": _HEADERS[MAC_HEADER][1],
                }
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.description,
        "tags": ["settlement" if operation.authenticated else "sign-in"],
        "responses": _responses(operation),
        # all four headers together, or none
        "security": [{name: [] for name in _HEADERS}] if operation.authenticated else [],
    }
    if operation.parameters:
        described["parameters"] = [
            {
                "name": parameter.name,
                "in": parameter.place,
                "required": parameter.required,
                "description": parameter.meaning,
                "schema": parameter.schema,
            }
            for parameter in operation.parameters
        ]
    if operation.request is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": _content(operation.request, REQUESTS[operation.name])},
        }
    return described


def _responses(operation: Operation) -> dict[str, Any]:
    content = {"application/json": _content(operation.answer, ANSWERS[operation.name])}
    if operation.text:
        content["text/plain"] = {"schema": {"type": "string"}}
    headers = {MAC_HEADER: {"$ref": f"#/components/headers/{MAC_HEADER}"}} if operation.authenticated else {}
    responses: dict[str, Any] = {"200": {"description": "Done.", "headers": headers, "content": content}}
    if operation.pending:
        responses["202"] = {
            "description": "Not yet known. Ask again at Location after Retry-After seconds.",
            "headers": {
                **headers,
                "Location": {"schema": {"type": "string"}},
                "Retry-After": {"schema": {"type": "integer"}},
            },
            "content": {"application/json": {"schema": {"$ref": _REF.format(name=operation.answer.__name__)}}},
        }
    by_status: dict[int, list[str]] = {}
    for code in operation.all_errors:
        by_status.setdefault(CATALOGUE[code][0], []).append(code)
    for status, codes in sorted(by_status.items()):
        responses[str(status)] = {
            "description": "\n".join(f"- `{code}`: {CATALOGUE[code][1]}" for code in codes),
            "content": {"application/json": {"schema": {"$ref": _REF.format(name="ErrorBody")}}},
        }
    return responses


def _content(kind: type[msgspec.Struct], example: msgspec.Struct) -> dict[str, Any]:
    return {"schema": {"$ref": _REF.format(name=kind.__name__)}, "example": msgspec.to_builtins(example)}

"""What is not for terminals' bills: health, readiness, metrics, the description of the interface and its page."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from settlement.api.answers import JSON, plain
from settlement.api.docs_page import docs_page
from settlement.api.openapi import openapi

_NOT_READY = 503
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def add_service_pages(
    app: web.Application, reasons: Callable[[], list[str]], registry: CollectorRegistry, version: str
) -> None:
    """Route the pages. ``reasons``: why the service is not ready; empty when it is."""
    description = openapi(version)
    description_bytes = msgspec.json.format(msgspec.json.encode(description), indent=2)
    page = docs_page(description).encode()

    async def healthz(_: web.Request) -> web.Response:
        return plain({"status": "alive", "version": version})

    async def readyz(_: web.Request) -> web.Response:
        found = reasons()
        return plain({"ready": not found, "reasons": found}, status=_NOT_READY if found else 200)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": _METRICS_TYPE})

    async def openapi_json(_: web.Request) -> web.Response:
        return web.Response(body=description_bytes, content_type=JSON)

    async def docs(_: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": _PAGE_POLICY}
        return web.Response(body=page, content_type="text/html", charset="utf-8", headers=headers)

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/openapi.json", openapi_json)
    app.router.add_get("/docs", docs)

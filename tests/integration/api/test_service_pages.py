"""Health, readiness, metrics, the description and its page."""

from __future__ import annotations

import re

from prometheus_client import REGISTRY

from settlement.api.examples import REQUESTS
from settlement.api.operations import OPERATIONS
from terminal_sdk import wire
from tests.support.api import Api
from tests.support.terminals import SignedIn

BODY = wire.encode(REQUESTS["quote"])


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_health_does_not_depend_on_anything(api: Api) -> None:
    api.engine.reasons = ["no database"]
    answer = await api.plain("GET", "/healthz")
    assert (answer.status, answer.json["status"]) == (200, "alive")
    assert (await api.plain("HEAD", "/healthz")).status == 200


async def test_readiness_lists_its_reasons(api: Api) -> None:
    answer = await api.plain("GET", "/readyz")
    assert (answer.status, answer.json) == (200, {"ready": True, "reasons": []})
    api.engine.reasons = ["the database does not answer"]
    answer = await api.plain("GET", "/readyz")
    assert (answer.status, answer.json) == (503, {"ready": False, "reasons": ["the database does not answer"]})
    assert answer.headers["Cache-Control"] == "no-store"


async def test_metrics_count_requests_and_failures(api: Api, till: SignedIn) -> None:
    labels = {"method": "POST", "route": "/v1/quotes"}
    ok = sample("settlement_http_requests_total", **labels, status="200")
    failed = sample("settlement_http_authentication_failures_total", code="MAC_INVALID")
    in_flight = sample("settlement_http_in_flight")
    seconds = sample("settlement_http_request_seconds_count", **labels)
    await api.signed(till, "POST", "/v1/quotes", BODY)
    await api.signed(till, "POST", "/v1/quotes", BODY, mac="0" * 64)
    await api.plain("GET", "/v1/nothing/1")
    assert sample("settlement_http_requests_total", **labels, status="200") == ok + 1
    assert sample("settlement_http_authentication_failures_total", code="MAC_INVALID") == failed + 1
    assert sample("settlement_http_request_seconds_count", **labels) == seconds + 2
    assert sample("settlement_http_in_flight") == in_flight
    text = (await api.plain("GET", "/metrics")).body.decode()
    assert 'route="unmatched",status="404"' in text
    assert "/v1/nothing" not in text


async def test_the_description_has_every_operation(api: Api) -> None:
    description = (await api.plain("GET", "/openapi.json")).json
    assert description["openapi"].startswith("3.1")
    for operation in OPERATIONS:
        described = description["paths"][operation.path][operation.method.lower()]
        assert described["operationId"] == operation.name
    assert "x-mac" in {name.lower() for name in description["components"]["securitySchemes"]}


async def test_the_page_needs_nothing_from_elsewhere(api: Api) -> None:
    answer = await api.plain("GET", "/docs")
    page = answer.body.decode()
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert not re.search(r"<script|<link|<img|@import|url\(|https?://", page)
    for operation in OPERATIONS:
        assert operation.path in page


async def test_a_stopping_service_is_not_ready_and_takes_nothing_new(api: Api, till: SignedIn) -> None:
    api.admission.close()
    assert (await api.plain("GET", "/readyz")).json["reasons"] == ["the service is stopping"]
    answer = await api.signed(till, "POST", "/v1/quotes", BODY)
    assert (answer.status, answer.code) == (503, "NOT_READY")
    assert (await api.plain("POST", "/v1/sessions/challenge", b"{}")).code == "NOT_READY"
    assert (await api.plain("GET", "/healthz")).status == 200

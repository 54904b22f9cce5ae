"""Each refusal over HTTP: its own status and code, always JSON, never a value or a trace of the inside."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
import structlog

from settlement.api import Limits
from settlement.api.examples import REQUESTS
from settlement.clock import epoch_ms
from settlement.errors import CATALOGUE, ServiceError
from terminal_sdk import wire
from terminal_sdk.signing import MAC_HEADER
from tests.integration.api.conftest import Serve
from tests.support.api import Api
from tests.support.terminals import HOSPITAL, SignedIn

BILL: dict[str, Any] = msgspec.to_builtins(REQUESTS["settle"])
BODY = wire.encode(REQUESTS["settle"])


def changed(**fields: object) -> bytes:
    return json.dumps(BILL | fields).encode()


def number(text: str) -> bytes:
    """The bill with a total written so."""
    return changed(total_fen="@").replace(b'"@"', text.encode())


def line(**fields: object) -> bytes:
    return changed(lines=[BILL["lines"][0], BILL["lines"][1] | fields])


async def test_a_request_that_is_not_authenticated_never_reaches_the_engine(api: Api, till: SignedIn) -> None:
    world = api.world
    other = await (await world.till("TILL0002")).sign_in()
    old = str(epoch_ms(world.clock.now()) - 181_000)
    right = till.headers("POST", "/v1/settlements", BODY)

    async def code(headers: dict[str, str], path: str = "/v1/settlements", body: bytes = BODY) -> str | None:
        answer = await api.plain("POST", path, body, **headers)
        assert answer.status == 401
        return answer.code

    assert await code({}) == "SESSION_MISSING"
    assert await code(right | {"X-Mac": "0" * 64}) == "MAC_INVALID"
    assert await code(right, body=BODY + b" ") == "MAC_INVALID"
    assert await code(right, path="/v1/settlements?x=1") == "MAC_INVALID"
    assert await code(right, path="/v1/quotes") == "MAC_INVALID"
    assert await code(right | {"X-Time": str(int(right["X-Time"]) + 1)}) == "MAC_INVALID"
    assert await code(right | {"X-Terminal-Session": other.session.session_id}) == "MAC_INVALID"
    assert await code(till.headers("POST", "/v1/settlements", BODY, signed_time=old)) == "CLOCK_SKEW"
    assert (await world.books())["request_nonce"] == 0
    assert api.engine.calls == []
    assert (await api.plain("POST", "/v1/settlements", BODY, **right)).status == 200
    assert await code(right) == "NONCE_REPLAYED"
    world.clock.moment = till.session.expires_at
    assert await code(till.headers("POST", "/v1/settlements", BODY)) == "SESSION_EXPIRED"
    assert len(api.engine.calls) == 1


async def test_a_session_of_one_terminal_with_a_nonce_of_another(api: Api, till: SignedIn) -> None:
    other = await (await api.world.till("TILL0002")).sign_in()
    assert (await api.signed(other, "POST", "/v1/settlements", BODY, signed_nonce="n" * 16)).status == 200
    assert (await api.signed(till, "POST", "/v1/settlements", BODY, signed_nonce="n" * 16)).status == 200


async def test_suspension_acts_on_open_sessions_at_once(api: Api, till: SignedIn) -> None:
    assert (await api.signed(till, "POST", "/v1/settlements", BODY)).status == 200
    await api.world.registry.suspend("TILL0001", "lost")
    answer = await api.signed(till, "POST", "/v1/settlements", BODY)
    assert (answer.status, answer.code) == (403, "TERMINAL_SUSPENDED")
    assert MAC_HEADER in answer.headers  # proven: the MAC of the request was right
    await api.world.registry.resume("TILL0001")
    again = await (await api.world.till()).sign_in()
    await api.world.registry.suspend_institution(HOSPITAL, "closed")
    assert (await api.signed(again, "POST", "/v1/settlements", BODY)).code == "INSTITUTION_SUSPENDED"
    assert len(api.engine.calls) == 1


async def test_sign_in_with_an_expired_certificate(api: Api) -> None:
    till = await api.world.till()
    api.world.clock.moment = till.certificate.not_after
    asked = await api.plain("POST", "/v1/sessions/challenge", b'{"terminal_id":"TILL0001"}')
    answer = await api.plain("POST", "/v1/sessions", wire.encode(till.sign_in_request(asked.json["challenge"])))
    assert (answer.status, answer.code) == (403, "TERMINAL_CERTIFICATE_EXPIRED")


async def test_a_wrong_enrolment_code(api: Api) -> None:
    body = wire.encode(wire.EnrolRequest(terminal_id="TILL0001", enrolment_code="WRONG-CODE", csr_pem=""))
    assert (await api.plain("POST", "/v1/terminals/enrol", body)).code == "ENROLMENT_REFUSED"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (changed(total_fen=-1), "total_fen"),
        (changed(total_fen=0), "total_fen"),
        (changed(total_fen=2**63), "total_fen"),
        (number("9" * 5_000), "total_fen"),
        (number("1e400"), "total_fen"),
        (number("1e999999999"), "total_fen"),
        (number("-0.0"), "total_fen"),
        (changed(total_fen=43.6), "total_fen"),
        (changed(total_fen=4360.0), "total_fen"),
        (changed(total_fen="4360"), "total_fen"),
        (changed(total_fen=True), "total_fen"),
        (changed(total_fen=None), "total_fen"),
        (changed(total_fen=float("nan")), "total_fen"),
        (changed(total_fen=float("inf")), "total_fen"),
        (line(amount_fen=float("nan")), "lines[1].amount_fen"),
        (line(amount_fen=float("-inf")), "lines[1].amount_fen"),
        (line(amount_fen=-1), "lines[1].amount_fen"),
        (line(amount_fen=2**63), "lines[1].amount_fen"),
        (line(category="D"), "lines[1].category"),
        (line(surprise=1), "lines[1].surprise"),
        (changed(surprise=1), "surprise"),
        (changed(张三=1), None),
        (changed(lines=[]), "lines"),
        (changed(service_date="2019-02-30"), "service_date"),
        (changed(proof={"kind": "none"}), "proof.kind"),
        (changed(proof={"kind": "sm2"}), "proof.counter"),
        (changed(idempotency_key="short"), "idempotency_key"),
        (changed(idempotency_key="KEY-0001-0001\n"), "idempotency_key"),
        (changed(visit_no="MZ1\n"), "visit_no"),
        (line(item_name="x\0y"), "lines[1].item_name"),
        (b"[]", None),
        (b"{}", "idempotency_key"),
        (b"null", None),
        (b'{"lines":' + b"[" * 100_000, "lines[0]"),
    ],
)
async def test_bad_fields_are_named(api: Api, till: SignedIn, body: bytes, field: str | None) -> None:
    answer = await api.signed(till, "POST", "/v1/settlements", body)
    assert (answer.status, answer.code, answer.field) == (422, "BAD_FIELD", field)
    assert MAC_HEADER in answer.headers
    assert api.engine.calls == []


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{'total_fen': 1}",
        BODY[:-1],
        BODY + b"x",
        b"\xff\xfe",
        b'{"visit_no":"\xff"}',
        b'{"visit_no":"\\ud800"}',
        b"\xef\xbb\xbf" + BODY,
        BODY.decode().encode("utf-16"),
        b"[" * 100_000,
        b"NaN" * 10,
        b'{"a":' * 50_000 + b"NaN",
    ],
)
async def test_broken_json(api: Api, till: SignedIn, body: bytes) -> None:
    answer = await api.signed(till, "POST", "/v1/settlements", body)
    assert (answer.status, answer.code) in {(400, "BAD_JSON"), (422, "BAD_FIELD")}
    assert answer.code == "BAD_JSON" or (body[:1] in b"[{" and len(body) > 1_000)
    assert api.engine.calls == []


async def test_an_empty_body(api: Api, till: SignedIn) -> None:
    headers = till.headers("POST", "/v1/settlements") | {"Content-Type": "application/json"}
    answer = await api.plain("POST", "/v1/settlements", b"", **headers)
    assert (answer.status, answer.code) == (400, "BAD_JSON")


async def test_a_refusal_repeats_no_value(api: Api, till: SignedIn) -> None:
    number = "310101199003077771"
    for body in (
        line(category=number),
        changed(**{f"x {number}": 1}),
        changed(service_date=number),
        line(quantity=number),
    ):
        answer = await api.signed(till, "POST", "/v1/settlements", body)
        assert answer.code == "BAD_FIELD"
        assert number not in answer.body.decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=gbk"},
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "deflate"},
    ],
)
async def test_other_media_types(api: Api, till: SignedIn, headers: dict[str, str]) -> None:
    answer = await api.plain(
        "POST", "/v1/settlements", BODY, **(till.headers("POST", "/v1/settlements", BODY) | headers)
    )
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_utf8_may_be_said(api: Api, till: SignedIn) -> None:
    headers = till.headers("POST", "/v1/settlements", BODY) | {"Content-Type": "application/json; charset=UTF-8"}
    assert (await api.plain("POST", "/v1/settlements", BODY, **headers)).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "NOT_FOUND"),
        ("GET", "/v1/nothing", 404, "NOT_FOUND"),
        ("POST", "/v1/settlements/", 404, "NOT_FOUND"),
        ("GET", "/v1/../etc/passwd", 404, "NOT_FOUND"),
        ("DELETE", "/v1/settlements", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/v1/quotes", 405, "METHOD_NOT_ALLOWED"),
        ("OPTIONS", "/v1/quotes", 405, "METHOD_NOT_ALLOWED"),
        ("PROPFIND", "/healthz", 405, "METHOD_NOT_ALLOWED"),
    ],
)
async def test_unknown_paths_and_methods(api: Api, method: str, path: str, status: int, code: str) -> None:
    answer = await api.plain(method, path)
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "X-Request-Id" in answer.headers
    assert ("Allow" in answer.headers) == (status == 405)


async def test_an_unexpected_failure_tells_nothing(api: Api, till: SignedIn) -> None:
    api.engine.error = RuntimeError("password=hunter2")
    with structlog.testing.capture_logs() as logs:
        answer = await api.signed(till, "POST", "/v1/settlements", BODY)
    assert (answer.status, answer.code) == (500, "INTERNAL")
    assert answer.json["error"] == {"code": "INTERNAL", "message": CATALOGUE["INTERNAL"][1]}
    assert MAC_HEADER in answer.headers
    assert [entry["event"] for entry in logs] == ["request failed", "request"]
    api.engine.error = None
    assert (await api.signed(till, "POST", "/v1/settlements", BODY)).status == 200


async def test_a_refusal_of_the_engine_arrives_whole(api: Api, till: SignedIn) -> None:
    api.engine.error = ServiceError("PERSON_BUSY", retry_after_ms=1_500, settlement_id="S-1", field="card")
    answer = await api.signed(till, "POST", "/v1/settlements", BODY)
    assert answer.status == 409
    assert answer.headers["Retry-After"] == "2"
    assert answer.json["error"] == {
        "code": "PERSON_BUSY",
        "message": CATALOGUE["PERSON_BUSY"][1],
        "field": "card",
        "retry_after_ms": 1_500,
        "settlement_id": "S-1",
    }


async def test_a_log_line_says_who_and_what_but_nothing_of_the_body(api: Api, till: SignedIn) -> None:
    with structlog.testing.capture_logs() as logs:
        await api.signed(till, "POST", "/v1/settlements", BODY)
        await api.signed(till, "GET", "/v1/settlements/01681000-8c1a-7d3e-9b7a-3f5e2c9d1a40")
        await api.plain("GET", "/v1/nothing/310101199003077771")
    lines = [(entry["method"], entry["route"], entry["status"], entry["terminal"]) for entry in logs]
    assert lines == [
        ("POST", "/v1/settlements", 200, "TILL0001"),
        ("GET", "/v1/settlements/{settlement_id}", 200, "TILL0001"),
        ("GET", "unmatched", 404, None),
    ]
    assert "A12345678" not in str(logs)
    assert "310101199003077771" not in str(logs)


async def test_without_a_database_the_answer_is_not_ready(serve: Serve, till: SignedIn) -> None:
    api = await serve(Limits())
    await api.world.pool.close()
    answer = await api.signed(till, "POST", "/v1/settlements", BODY)
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "NOT_READY", "1")
    assert MAC_HEADER in answer.headers
    await asyncio.sleep(0)

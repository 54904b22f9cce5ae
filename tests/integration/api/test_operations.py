"""Every operation once over HTTP: routing, types, statuses, the MAC of the answer, and the life of a new terminal."""

from __future__ import annotations

import uuid

import msgspec
import pytest

from settlement.api.examples import ANSWERS, REQUESTS
from settlement.api.operations import OPERATIONS, Operation
from terminal_sdk import wire
from terminal_sdk.crypto import Certificate, Sm2PrivateKey
from terminal_sdk.signing import MAC_HEADER
from tests.support.api import Api
from tests.support.terminals import HOSPITAL, SignedIn, Till, enrol_request

ID = "01681000-8c1a-7d3e-9b7a-3f5e2c9d1a40"
SIGNED = [operation for operation in OPERATIONS if operation.authenticated]


def path_of(operation: Operation) -> str:
    path = operation.path.format(settlement_id=ID, reversal_id=ID, refund_id=ID, receipt_id=ID, stay_id=ID, batch_no=1)
    return f"{path}?idempotency_key=KEY-0001-0001" if operation.name == "settlementByKey" else path


async def test_a_new_terminal_enrols_signs_in_and_asks(api: Api) -> None:
    issued = await api.world.registry.register("TILL0001", HOSPITAL)
    key = Sm2PrivateKey.generate()
    enrolled = await api.plain("POST", "/v1/terminals/enrol", wire.encode(enrol_request("TILL0001", issued.code, key)))
    assert enrolled.status == 200
    certificate = Certificate.from_pem(enrolled.json["certificate_pem"])
    till = Till("TILL0001", key, certificate, api.world)

    asked = await api.plain("POST", "/v1/sessions/challenge", b'{"terminal_id":"TILL0001"}')
    signed_in = await api.plain("POST", "/v1/sessions", wire.encode(till.sign_in_request(asked.json["challenge"])))
    session = till.open(msgspec.json.decode(signed_in.body, type=wire.Session))

    answer = await api.signed(session, "POST", "/v1/quotes", REQUESTS["quote"])
    assert answer.status == 200
    assert msgspec.json.decode(answer.body, type=wire.Quote) == ANSWERS["quote"]
    assert api.engine.calls == [("quote", "TILL0001", REQUESTS["quote"])]


@pytest.mark.parametrize("operation", SIGNED, ids=lambda operation: operation.name)
async def test_each_operation_reaches_the_engine_and_is_answered(
    api: Api, till: SignedIn, operation: Operation
) -> None:
    answer = await api.signed(till, operation.method, path_of(operation), REQUESTS.get(operation.name))
    assert answer.status == 200
    assert msgspec.json.decode(answer.body, type=operation.answer) == ANSWERS[operation.name]
    assert MAC_HEADER in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    assert len(answer.headers["X-Request-Id"]) == 16
    assert [call[:2] for call in api.engine.calls] == [(operation.name, "TILL0001")]


@pytest.mark.parametrize("operation", [each for each in SIGNED if each.pending], ids=lambda operation: operation.name)
async def test_what_is_not_final_is_202_with_the_place_to_ask(api: Api, till: SignedIn, operation: Operation) -> None:
    api.engine.final = False
    answer = await api.signed(till, operation.method, path_of(operation), REQUESTS.get(operation.name))
    kind, place = {
        wire.Settlement: ("settlements", "settlement_id"),
        wire.Reversal: ("reversals", "reversal_id"),
        wire.Refund: ("refunds", "refund_id"),
    }[operation.answer]
    assert answer.status == 202
    assert answer.headers["Location"] == f"/v1/{kind}/{answer.json[place]}"
    assert answer.headers["Retry-After"] == "1"
    assert MAC_HEADER in answer.headers


async def test_parameters_arrive_typed(api: Api, till: SignedIn) -> None:
    await api.signed(till, "GET", "/v1/settlements?idempotency_key=KEY-0001:0001")
    await api.signed(till, "GET", f"/v1/settlements/{ID.upper()}")
    await api.signed(till, "POST", f"/v1/settlements/{ID}/reversal", REQUESTS["reverse"])
    assert [call[2] for call in api.engine.calls] == [
        "KEY-0001:0001",
        uuid.UUID(ID),
        (uuid.UUID(ID), REQUESTS["reverse"]),
    ]


@pytest.mark.parametrize("bad", ["1", ID.replace("-", ""), "urn:uuid:" + ID, ID + "%0A", "%00"])
@pytest.mark.parametrize(
    ("path", "code"),
    [("/v1/settlements/", "SETTLEMENT_UNKNOWN"), ("/v1/receipts/", "RECEIPT_UNKNOWN")],
)
async def test_what_is_no_id_names_nothing(api: Api, till: SignedIn, bad: str, path: str, code: str) -> None:
    answer = await api.signed(till, "GET", path + bad)
    assert (answer.status, answer.code) == (404, code)
    assert api.engine.calls == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "idempotency_key"),
        ("?idempotency_key=short", "idempotency_key"),
        ("?idempotency_key=KEY-0001-0001&idempotency_key=KEY-0001-0002", "idempotency_key"),
        ("?idempotency_key=KEY-0001%200001", "idempotency_key"),
        ("?idempotency_key=KEY-0001-0001%0A", "idempotency_key"),
        ("?idempotency_key=KEY-0001-0001&other=1", None),
    ],
)
async def test_bad_queries(api: Api, till: SignedIn, query: str, field: str | None) -> None:
    answer = await api.signed(till, "GET", f"/v1/settlements{query}")
    assert (answer.status, answer.code, answer.field) == (422, "BAD_FIELD", field)


@pytest.mark.parametrize(
    ("query", "accept", "text"),
    [
        ("", "*/*", False),
        ("", "application/json", False),
        ("", "text/plain", True),
        ("", "text/*;q=0.8, application/json;q=0.5", True),
        ("", "text/plain;q=0.5, application/json", False),
        ("", "text/plain;q=nonsense", False),
        ("?format=text", "application/json", True),
        ("?format=json", "text/plain", False),
    ],
)
async def test_a_receipt_as_data_or_as_text(api: Api, till: SignedIn, query: str, accept: str, text: bool) -> None:
    path = f"/v1/receipts/{ID}{query}"
    headers = till.headers("GET", path) | {"Accept": accept}
    async with api.http.get(api.url + path, headers=headers) as response:
        assert response.status == 200
        assert response.content_type == ("text/plain" if text else "application/json")
        body = await response.text()
    assert text == (body == ANSWERS["receipt"].text)  # type: ignore[attr-defined]


async def test_an_unknown_format(api: Api, till: SignedIn) -> None:
    answer = await api.signed(till, "GET", f"/v1/receipts/{ID}?format=pdf")
    assert (answer.code, answer.field) == ("BAD_FIELD", "format")
    assert api.engine.calls == []

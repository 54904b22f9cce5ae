"""What must be refused: each with its own clear 4xx, and books that have not moved by a byte."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from terminal_sdk.card import CardImage, VirtualCard
from tests.support.raw_terminal import Answer, RawTerminal, line, raw_terminal
from tests.support.service import RunningService

PATH = "/v1/settlements"


@pytest.fixture
async def till(service: RunningService) -> AsyncIterator[RawTerminal]:
    async with raw_terminal(service.base_url, await service.enrolled()) as terminal:
        yield terminal


@pytest.fixture
async def image(service: RunningService) -> CardImage:
    return await service.issue_card(current_year_fen=500, bank_fen=9_000)


async def books(service: RunningService) -> list[Any]:
    """Every count that a bill could move, and all balances."""
    tables = ("settlement", "undo", "hold", "hold_end", "transfer", "leg", "leg_move", "receipt", "idempotency",
              "line_claim", "saga_directory", "outbox_event")  # fmt: skip
    counts = [await service.base.pool.fetchval(f"select count(*) from {table}") for table in tables]  # noqa: S608
    balances = await service.base.pool.fetch("select * from insurance_accounts order by person_id")
    counters = await service.base.pool.fetch("select card_id, last_counter from card order by card_id")
    return [*counts, balances, counters]


async def test_ten_bad_inputs_ten_refusals_and_unchanged_books(
    service: RunningService, till: RawTerminal, image: CardImage
) -> None:
    card = VirtualCard(image)
    good = till.settlement(image, card, [line(800)])
    raw = msgspec.json.encode(good)
    bill_line = good["lines"][0]
    nonce, now = secrets.token_hex(16), int(time.time() * 1_000)
    unknown = good | {"card": good["card"] | {"card_number": "ZZZZZZZZZ"}}
    expired = await _with_expired_certificate(service, till)
    before = await books(service)
    refusals: dict[str, Answer] = {
        "unknown card": await till.call("POST", PATH, unknown),
        "expired certificate": await till.call("POST", PATH, expired),
        "wrong MAC": await till.call("POST", PATH, good, mac="0" * 64),
        "replayed nonce": await _twice(till, nonce, now),
        "negative amount": await till.call("POST", PATH, good | {"lines": [bill_line | {"amount_fen": -1}]}),
        "2^63": await till.call("POST", PATH, good | {"total_fen": 2**63}),
        "NaN": await till.call("POST", PATH, raw.replace(b'"total_fen":800', b'"total_fen":NaN')),
        "10 MB body": await till.call("POST", PATH, b" " * 10_000_000),
        "broken JSON": await till.call("POST", PATH, raw[:-1]),
        "lines that do not add up": await till.call("POST", PATH, good | {"total_fen": 801}),
        "two lines of one number": await till.call("POST", PATH, good | {"lines": [bill_line] * 2, "total_fen": 1_600}),
        "no consent": await till.call("POST", PATH, good | {"bank_ceiling_fen": None}),
        "forged quote": await till.call("POST", PATH, good | {"bank_ceiling_fen": None, "quote": "e30=." + "0" * 64}),
        "future": await till.call("POST", PATH, good | {"service_date": "2099-01-01"}),
        "unknown field": await till.call("POST", PATH, good | {"discount_fen": 5}),
        "other amount than proved": await till.call("POST", PATH, good | {"bank_ceiling_fen": 900}),
        "fraction of a fen": await till.call("POST", PATH, raw.replace(b'"total_fen":800', b'"total_fen":800.0')),
        "clock off": await till.call("POST", PATH, good, time_ms=now - 3_600_000),
        "wrong type": await till.call("POST", PATH, good, headers={"Content-Type": "text/xml"}),
    }
    seen = {name: (answer.status, answer.code) for name, answer in refusals.items()}
    assert seen == {
        "unknown card": (404, "CARD_UNKNOWN"),
        "expired certificate": (403, "CARD_CERTIFICATE_EXPIRED"),
        "wrong MAC": (401, "MAC_INVALID"),
        "replayed nonce": (401, "NONCE_REPLAYED"),
        "negative amount": (422, "BAD_FIELD"),
        "2^63": (422, "BAD_FIELD"),
        "NaN": (422, "BAD_FIELD"),
        "10 MB body": (413, "BODY_TOO_LARGE"),
        "broken JSON": (400, "BAD_JSON"),
        "lines that do not add up": (422, "LINES_DO_NOT_ADD_UP"),
        "two lines of one number": (422, "DUPLICATE_LINE_NO"),
        "no consent": (422, "CONSENT_MISSING"),
        "forged quote": (422, "QUOTE_INVALID"),
        "future": (422, "SERVICE_DATE_OUT_OF_RANGE"),
        "unknown field": (422, "BAD_FIELD"),
        "other amount than proved": (403, "CARD_PROOF_INVALID"),
        "fraction of a fen": (422, "BAD_FIELD"),
        "clock off": (401, "CLOCK_SKEW"),
        "wrong type": (415, "UNSUPPORTED_MEDIA_TYPE"),
    }
    messages = [
        answer.body["error"]["message"] + str(answer.body["error"].get("field")) for answer in refusals.values()
    ]
    assert len(set(messages)) == len(messages)
    assert await books(service) == before
    assert (await till.call("POST", PATH, good)).body["state"] == "settled"


async def _twice(till: RawTerminal, nonce: str, now: int) -> Answer:
    path = "/v1/settlements?idempotency_key=none-such-key"
    first = await till.call("GET", path, nonce=nonce, time_ms=now)
    assert first.code == "SETTLEMENT_UNKNOWN"
    return await till.call("GET", path, nonce=nonce, time_ms=now)


async def _with_expired_certificate(service: RunningService, till: RawTerminal) -> dict[str, Any]:
    """A right request of a card whose certificate has come to its end since it was registered."""
    image = await service.issue_card(current_year_fen=500)
    context = await service.base.cards.load(image.card_number)
    await service.base.pool.execute(
        "update card set certificate_not_after = now() - interval '1 day' where person_id = $1 and card_id = $2",
        context.person_id,
        context.card_id,
    )
    return till.settlement(image, VirtualCard(image), [line(100)])


async def test_a_proof_is_good_for_one_bill_one_terminal_and_one_time(
    service: RunningService, till: RawTerminal, image: CardImage
) -> None:
    card = VirtualCard(image)
    good = till.settlement(image, card, [line(300)])
    assert (await till.call("POST", PATH, good | {"visit_no": "OTHER-1"})).code == "CARD_PROOF_INVALID"
    assert (await till.call("POST", PATH, good)).body["state"] == "settled"
    again = good | {"idempotency_key": "another-key-1"}
    other_lines = [good["lines"][0] | {"line_no": 7}]
    assert (await till.call("POST", PATH, again | {"lines": other_lines})).code == "CARD_COUNTER_REPLAYED"
    async with raw_terminal(service.base_url, await service.enrolled()) as stranger:
        fresh = till.settlement(image, card, [line(100)])
        assert (await stranger.call("POST", PATH, fresh)).code == "CARD_PROOF_INVALID"
    old = till.settlement(image, card, [line(100)])
    old["proof"]["signed_at_ms"] -= 3_600_000
    assert (await till.call("POST", PATH, old)).code in {"CARD_PROOF_STALE", "CARD_PROOF_INVALID"}


async def test_a_legacy_card_with_a_wrong_check_value_is_refused(service: RunningService, till: RawTerminal) -> None:
    image = await service.issue_card(current_year_fen=500, bank=None)
    good = till.settlement(image, VirtualCard(image), [line(100)], pin=False)
    forged = good | {"proof": good["proof"] | {"check_value": "00" * 8}}
    assert (await till.call("POST", PATH, forged)).code == "CARD_PROOF_INVALID"
    assert await service.balances(image) == (500, 0)


async def test_institutions_do_not_see_each_other(service: RunningService, till: RawTerminal, image: CardImage) -> None:
    paid = await till.call("POST", PATH, till.settlement(image, VirtualCard(image), [line(300)]))
    place = f"{PATH}/{paid.body['settlement_id']}"
    async with raw_terminal(service.base_url, await service.enrolled("H31010100001")) as stranger:
        assert (await stranger.call("GET", place)).code == "SETTLEMENT_UNKNOWN"
        assert (await stranger.call("GET", f"/v1/receipts/{paid.body['receipt_id']}")).code == "RECEIPT_UNKNOWN"
        undo = {"idempotency_key": "stranger-undo-1"}
        assert (await stranger.call("POST", f"{place}/reversal", undo)).code == "SETTLEMENT_UNKNOWN"
    assert (await till.call("GET", place)).body["state"] == "settled"


async def test_a_suspended_terminal_is_stopped_at_its_next_request(service: RunningService, till: RawTerminal) -> None:
    path = f"{PATH}?idempotency_key=none-such-key"
    assert (await till.call("GET", path)).code == "SETTLEMENT_UNKNOWN"
    await service.base.terminals.suspend(till.terminal_id, "stolen")
    assert (await till.call("GET", path)).code == "TERMINAL_SUSPENDED"
    assert (await till.sign_in()).code == "TERMINAL_SUSPENDED"

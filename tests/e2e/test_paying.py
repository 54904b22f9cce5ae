"""Bills of every kind through the whole service: who paid what, and what each side's books say."""

from __future__ import annotations

import asyncio
import datetime as dt

import msgspec
import pytest

from settlement.stubs.bankhost.frame_log import mask_pan
from terminal_sdk import Bill, Declined, FeeLine, NotYetKnown, Refused, Reversed, Settled, Terminal
from terminal_sdk.card import CardImage, VirtualCard
from terminal_sdk.wire import OnBankDecline, Remainder
from tests.support.raw_terminal import SHANGHAI, line, raw_terminal
from tests.support.service import RunningService, present


def bill(*lines: FeeLine, visit_no: str) -> Bill:
    today = dt.datetime.now(dt.UTC).astimezone(SHANGHAI).date()
    return Bill(visit_no=visit_no, visit_type="pharmacy", service_date=today, lines=list(lines))


async def pay(
    terminal: Terminal,
    image: CardImage,
    *lines: FeeLine,
    visit_no: str | None = None,
    on_bank_decline: OnBankDecline = "release",
    remainder: Remainder = "bank",
    card: VirtualCard | None = None,
) -> Settled | Declined | Reversed | NotYetKnown | Refused:
    chosen = bill(*lines, visit_no=visit_no or f"V-{terminal.new_key()}"[:40])
    with present(card or VirtualCard(image)) as session:
        return await terminal.settle(
            card=session,
            bank_ceiling_fen=sum(each.amount_fen for each in lines),
            pin=None if image.pan is None else image.pin,
            on_bank_decline=on_bank_decline,
            remainder=remainder,
            **chosen,
        )


async def test_accounts_that_cover_the_bill_open_no_bank_message(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=600, carried_over_fen=5_000, bank_fen=100_000)
    async with service.terminal() as terminal:
        result = await pay(terminal, image, line(1_000))
    assert isinstance(result, Settled)
    assert (result.split.current_year_fen, result.split.carried_over_fen, result.split.bank_fen) == (600, 400, 0)
    assert image.pan is not None
    assert [row for row in await service.bank_log("ICBC") if row.pan == mask_pan(image.pan)] == []


async def test_insurance_first_then_the_bank_for_the_rest(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=600, bank_fen=100_000)
    async with service.terminal() as terminal:
        result = await pay(terminal, image, line(1_000, 1), line(500, 2, "C"))
        assert isinstance(result, Settled)
        receipt = await result.receipt()
    assert (result.split.current_year_fen, result.split.bank_fen, result.split.own_expense_fen) == (600, 900, 500)
    assert await service.live_debits(image) == [900]
    assert await service.balances(image) == (0, 0)
    assert "9.00" in receipt.text
    assert image.name not in receipt.text
    assert image.card_number not in receipt.text


async def test_own_expense_is_never_on_insurance(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=50_000, bank_fen=100_000)
    async with service.terminal() as terminal:
        result = await pay(terminal, image, line(700, 1, "C"))
    assert isinstance(result, Settled)
    assert result.split.bank_fen == 700
    assert await service.balances(image) == (50_000, 0)


async def test_bank_declines_and_everything_is_released(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=600, bank_fen=10)
    async with service.terminal() as terminal:
        card = VirtualCard(image)
        result = await pay(terminal, image, line(1_000), visit_no="RELEASED-1", card=card)
        assert isinstance(result, Declined)
        assert (result.code, result.bank_code) == ("BANK_INSUFFICIENT_FUNDS", "51")
        assert await service.balances(image) == (600, 0)
        again = await pay(terminal, image, line(1_000), visit_no="RELEASED-1", on_bank_decline="cash", card=card)
    assert isinstance(again, Settled)
    assert (again.split.current_year_fen, again.cash_fen) == (600, 400)
    assert {part.payer for part in again.split.parts} == {"current_year", "cash"}
    assert await service.live_debits(image) == []


async def test_wrong_pin_is_the_banks_to_refuse(service: RunningService) -> None:
    image = await service.issue_card(bank_fen=10_000_000)
    wrong = msgspec.structs.replace(image, pin="000000")
    async with service.terminal() as terminal:
        result = await pay(terminal, wrong, line(200_000))
    assert isinstance(result, Declined)
    assert (result.code, result.bank_code) == ("BANK_PIN_WRONG", "55")


async def test_a_pin_block_of_another_session_is_told_apart_from_a_wrong_pin(service: RunningService) -> None:
    image = await service.issue_card(bank_fen=10_000_000)
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        request = till.settlement(image, VirtualCard(image), [line(200_000)], pin_block="5a" * 16)
        answer = await till.call("POST", "/v1/settlements", request)
    assert (answer.body["state"], answer.body["decline"]["code"]) == ("declined", "BANK_PIN_UNREADABLE")
    assert await service.bank_books(image) == []


async def test_legacy_card_is_insurance_only(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=600, bank=None)
    async with service.terminal() as terminal:
        result = await pay(terminal, image, line(1_000))
    assert isinstance(result, Settled)
    assert (result.split.current_year_fen, result.split.bank_fen, result.cash_fen) == (600, 0, 400)
    assert result.settlement.bank_notice == "NO_BANK_ACCOUNT"


@pytest.mark.parametrize(("state", "notice"), [("inactive", "FINANCIAL_NOT_ACTIVE"), ("frozen", "FINANCIAL_FROZEN")])
async def test_the_financial_function_never_stops_the_insurance_part(
    service: RunningService, state: str, notice: str
) -> None:
    image = await service.issue_card(
        current_year_fen=600, bank_fen=9_000, activate="social" if state == "inactive" else "financial"
    )
    if state == "frozen":
        await service.base.cards.freeze(image.card_number, "financial")
    async with service.terminal() as terminal:
        result = await pay(terminal, image, line(1_000))
    assert isinstance(result, Settled)
    assert (result.split.current_year_fen, result.cash_fen, result.settlement.bank_notice) == (600, 400, notice)
    assert await service.bank_books(image) == []


async def test_a_card_that_may_not_be_used_is_refused_by_its_own_code(service: RunningService) -> None:
    refused: dict[str, str] = {}
    async with service.terminal() as terminal:
        for state in ("lost", "void", "frozen", "inactive", "revoked", "replaced"):
            person = service.person()
            image = await service.issue_card(
                current_year_fen=5_000, person=person, activate=None if state == "inactive" else "financial"
            )
            cards = service.base.cards
            if state == "lost":
                await cards.report_lost(image.card_number)
            elif state == "void":
                await cards.void(image.card_number)
            elif state == "frozen":
                await cards.freeze(image.card_number, "social")
            elif state == "revoked":
                await cards.revoke_certificate(image.card_number)
            elif state == "replaced":
                await service.issue_card(person=person)
            result = await pay(terminal, image, line(100))
            assert isinstance(result, Refused), state
            refused[state] = result.code
            assert await service.balances(image) == (5_000, 0)
    assert refused == {
        "lost": "CARD_LOST",
        "void": "CARD_VOID",
        "frozen": "CARD_FROZEN",
        "inactive": "CARD_NOT_ACTIVATED",
        "revoked": "CARD_CERTIFICATE_REVOKED",
        "replaced": "CARD_VOID",
    }


async def test_a_quote_shows_what_the_settlement_then_does(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=600, carried_over_fen=100, bank_fen=9_000)
    chosen = bill(line(1_000), visit_no="QUOTED-1")
    async with service.terminal() as terminal:
        with present(VirtualCard(image)) as card:
            quote = await terminal.quote(card=card, **chosen)
            assert await service.balances(image) == (600, 100)
            result = await terminal.settle(card=card, quote=quote, pin=image.pin, **chosen)
    assert isinstance(result, Settled)
    assert result.split == quote.split
    assert (quote.balance_after.current_year_fen, quote.balance_after.carried_over_fen) == (0, 0)


async def test_more_than_was_agreed_to_is_refused_with_a_new_quote(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=600, bank_fen=9_000)
    chosen = bill(line(1_000), visit_no="EXCEEDED-1")
    card = VirtualCard(image)
    async with service.terminal() as terminal:
        with present(card) as session:
            quote = await terminal.quote(card=session, **chosen)
        with present(card) as session:
            other = bill(line(500), visit_no="EXCEEDED-2")
            assert isinstance(await terminal.settle(card=session, bank_ceiling_fen=0, **other), Settled)
        with present(card) as session:
            result = await terminal.settle(card=session, quote=quote, pin=image.pin, **chosen)
            assert isinstance(result, Refused)
            assert result.code == "AGREEMENT_EXCEEDED"
            assert result.quote is not None
            assert result.quote.split.bank_fen == 900
            again = await terminal.settle(card=session, quote=result.quote, pin=image.pin, **chosen)
    assert isinstance(again, Settled)
    assert await service.live_debits(image) == [900]


async def test_reversal_takes_everything_back_once(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=600, carried_over_fen=100, bank_fen=9_000)
    async with service.terminal() as terminal:
        paid = await pay(terminal, image, line(1_000), visit_no="BACK-1")
        assert isinstance(paid, Settled)
        answers = await asyncio.gather(*(terminal.reverse(settlement_id=paid.settlement_id) for _ in range(5)))
        await service.until_final()
        status = await terminal.status(settlement_id=paid.settlement_id)
        undone = answers[0]
        assert isinstance(undone, Reversed)
        assert undone.reversal is not None
        receipt = await terminal.receipt(undone.reversal.reversal_id)
    assert isinstance(status, Reversed)
    assert len({each.reversal.reversal_id for each in answers if isinstance(each, Reversed) and each.reversal}) == 1
    assert await service.balances(image) == (600, 100)
    assert [(item.kind, item.state) for item in await service.bank_books(image)] == [
        ("debit", "voided"),
        ("void", "done"),
    ]
    assert receipt.kind == "reversal"
    assert "-3.00" in receipt.text


async def test_after_the_banks_cut_over_a_reversal_is_a_refund(service: RunningService) -> None:
    image = await service.issue_card(bank_fen=9_000, bank="ABC")
    async with service.terminal() as terminal:
        paid = await pay(terminal, image, line(1_000))
        assert isinstance(paid, Settled)
        await service.bank.cut_over("ABC")
        await terminal.reverse(settlement_id=paid.settlement_id)
        await service.until_final()
        assert isinstance(await terminal.status(settlement_id=paid.settlement_id), Reversed)
    kinds = [(item.kind, item.state) for item in await service.bank_books(image) if item.state != "declined"]
    assert kinds == [("debit", "refunded"), ("refund", "done")]


async def test_a_reversal_by_key_finds_what_did_arrive(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=5_000)
    async with service.terminal() as first, service.terminal() as second:
        paid = await pay(first, image, line(100))
        assert isinstance(paid, Settled)
        undone = await second.reverse(idempotency_key=paid.idempotency_key)
    assert isinstance(undone, Reversed)
    assert undone.arrived
    assert await service.balances(image) == (5_000, 0)


async def test_a_reversal_before_its_original_keeps_it_out_for_ever(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=5_000)
    async with service.terminal() as first, service.terminal() as second:
        key = first.new_key()
        undone = await first.reverse(idempotency_key=key)
        assert isinstance(undone, Reversed)
        assert not undone.arrived
        with present(VirtualCard(image)) as card:
            late = await second.settle(
                card=card, bank_ceiling_fen=0, idempotency_key=key, **bill(line(100), visit_no="LATE-1")
            )
    assert isinstance(late, Refused | Reversed)
    assert await service.balances(image) == (5_000, 0)


async def test_a_frozen_insurance_side_is_left_out_only_with_the_patients_consent(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=600, bank_fen=9_000)
    await service.base.cards.freeze(image.card_number, "social")
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        card = VirtualCard(image)
        refused = await till.call("POST", "/v1/settlements", till.settlement(image, card, [line(1_000)]))
        agreed = till.settlement(image, card, [line(1_000)], consent="without_insurance")
        paid = await till.call("POST", "/v1/settlements", agreed)
        receipt = await till.call("GET", f"/v1/receipts/{paid.body['receipt_id']}")
    assert (refused.status, refused.code) == (403, "CARD_FROZEN")
    assert (paid.body["state"], paid.body["insurance_notice"]) == ("settled", "CARD_FROZEN")
    assert paid.body["split"]["bank_fen"] == 1_000
    assert "经本人同意未使用医保账户" in receipt.body["text"]
    assert await service.balances(image) == (600, 0)
    assert await service.live_debits(image) == [1_000]


async def test_consent_changes_nothing_while_the_insurance_side_can_pay(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=600, bank_fen=9_000)
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        card = VirtualCard(image)
        agreed = till.settlement(image, card, [line(1_000)], consent="without_insurance")
        paid = await till.call("POST", "/v1/settlements", agreed)
    assert (paid.body["split"]["current_year_fen"], paid.body["split"]["bank_fen"]) == (600, 400)
    assert paid.body["insurance_notice"] is None
    assert await service.live_debits(image) == [400]


async def test_a_blocked_pin_leaves_the_insurance_part_where_the_till_chose_cash(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=600, bank_fen=9_000)
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        card, wrong = VirtualCard(image), msgspec.structs.replace(image, pin="999999")
        for _ in range(3):
            await till.call("POST", "/v1/settlements", till.settlement(wrong, card, [line(1_000)]))
        chosen = till.settlement(image, card, [line(1_000)], on_bank_decline="cash")
        paid = await till.call("POST", "/v1/settlements", chosen)
    assert (paid.body["state"], paid.body["bank_notice"]) == ("settled", "BANK_PIN_BLOCKED")
    assert (paid.body["split"]["current_year_fen"], paid.body["split"]["cash_fen"]) == (600, 400)
    assert await service.live_debits(image) == []

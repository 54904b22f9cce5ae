"""Tills and bills for tests in which a key belongs to another implementation."""

from __future__ import annotations

import datetime as dt
import secrets

import aiohttp
import msgspec

from settlement.stubs.bankhost.wire import AccountSpec
from terminal_sdk import Bill, Credentials, Terminal, wire
from terminal_sdk.client.bill import PresentCard
from terminal_sdk.crypto import Certificate, Sm2PrivateKey
from terminal_sdk.results import Result
from tests.support.raw_terminal import SHANGHAI, line
from tests.support.service import RunningService

PIN = "123456"


async def enrol(service: RunningService, terminal_id: str, csr_pem: str) -> wire.Enrolment | wire.ErrorDetail:
    """Hand a certificate request to the service over HTTP, with a fresh one-time code."""
    code = await service.register_terminal(terminal_id)
    request = wire.EnrolRequest(terminal_id=terminal_id, enrolment_code=code, csr_pem=csr_pem)
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            service.base_url + "/v1/terminals/enrol",
            data=wire.encode(request),
            headers={"Content-Type": "application/json"},
        ) as response,
    ):
        body = await response.read()
        if response.status == 200:
            return msgspec.json.decode(body, type=wire.Enrolment)
        return msgspec.json.decode(body, type=wire.ErrorBody).error


async def enrolled(service: RunningService, terminal_id: str, csr_pem: str, key: Sm2PrivateKey) -> Credentials:
    """The credentials of a terminal that enrolled with this request of this key."""
    enrolment = await enrol(service, terminal_id, csr_pem)
    assert isinstance(enrolment, wire.Enrolment), enrolment
    return Credentials(
        terminal_id=terminal_id,
        institution_id=enrolment.institution_id,
        key=key,
        certificate=Certificate.from_pem(enrolment.certificate_pem),
        authority=Certificate.from_pem(enrolment.ca_pem),
    )


def till(service: RunningService, credentials: Credentials) -> Terminal:
    """A terminal of the kit with these credentials."""
    journal = service.folder / f"{credentials.terminal_id}.sqlite"
    return Terminal(service.base_url, credentials.terminal_id, credentials.key, credentials.certificate, journal)


async def pay(terminal: Terminal, card: PresentCard, amount_fen: int, *, deadline_ms: int = 150_000) -> Result:
    """Pay a bill of one line, the bank up to all of it."""
    today = dt.datetime.now(dt.UTC).astimezone(SHANGHAI).date()
    bill = Bill(
        visit_no=f"V{secrets.token_hex(6)}", visit_type="pharmacy", service_date=today, lines=[line(amount_fen)]
    )
    return await terminal.settle(card=card, bank_ceiling_fen=amount_fen, pin=PIN, deadline_ms=deadline_ms, **bill)


async def register_card(service: RunningService, card_number: str, certificate: Certificate, pan: str) -> None:
    """Register and activate a card with 6 yuan of insurance and 100 yuan at the bank (ICBC)."""
    cards, person = service.base.cards, service.person()
    await cards.register_third_generation(
        await cards.register_person(person.name, person.id_number),
        card_number=card_number,
        certificate=certificate,
        issued_on=cards.today(),
        expires_on=cards.today() + dt.timedelta(days=3_600),
        bank_code="ICBC",
        pan=pan,
    )
    await cards.activate_financial(card_number)
    await cards.credit(card_number, "current_year", 600, service.base.ids.uuid(), "test")
    await service.bank.put_accounts([AccountSpec(bank="ICBC", pan=pan, balance_fen=10_000, pin=PIN)])

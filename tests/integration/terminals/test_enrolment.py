"""Enrolment: the code holds once, for its time and its tries; only the right request gets a certificate."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt

import msgspec
import pytest

from settlement.errors import ServiceError
from settlement.terminals.model import BelongsElsewhere, UnknownInstitution
from terminal_sdk.crypto import Certificate, Sm2PrivateKey, verify_chain
from tests.support.terminals import HOSPITAL, PHARMACY, START, TerminalWorld, enrol_request

TILL = "TILL0001"
KEY = Sm2PrivateKey.generate()


async def refusal(world: TerminalWorld, code: str, **changes: str) -> str:
    with pytest.raises(ServiceError) as caught:
        await world.registry.enrol(enrol_request(changes.get("terminal_id", TILL), code, KEY))
    return caught.value.code


async def test_a_code_buys_a_certificate_of_the_terminals_own_key(world: TerminalWorld) -> None:
    issued = await world.registry.register(TILL, HOSPITAL)
    enrolment = await world.registry.enrol(enrol_request(TILL, issued.code, KEY))

    certificate = Certificate.from_pem(enrolment.certificate_pem)
    assert enrolment.institution_id == HOSPITAL
    assert certificate.subject == TILL
    assert certificate.public_key == KEY.public_key
    verify_chain(certificate, roots=[Certificate.from_pem(enrolment.ca_pem)], at=world.clock.now())
    entry, events = await world.registry.show(TILL)
    assert entry.state == "enrolled"
    assert [event.event for event in events] == ["registered", "code_issued", "enrolled"]


async def test_the_code_is_not_in_the_database_and_not_in_a_repr(world: TerminalWorld) -> None:
    issued = await world.registry.register(TILL, HOSPITAL)
    row = await world.pool.fetchrow("select * from terminal where terminal_id = $1", TILL)
    assert row is not None
    assert issued.code not in str(dict(row))
    assert issued.code.replace("-", "").encode() not in row["enrolment_code_digest"]
    assert issued.code not in repr(issued)


async def test_case_blanks_and_misread_letters_do_not_matter(world: TerminalWorld) -> None:
    issued = await world.registry.register(TILL, HOSPITAL)
    typed = issued.code.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert (await world.registry.enrol(enrol_request(TILL, typed, KEY))).terminal_id == TILL


async def test_a_code_is_used_up(world: TerminalWorld) -> None:
    issued = await world.registry.register(TILL, HOSPITAL)
    await world.registry.enrol(enrol_request(TILL, issued.code, KEY))
    assert await refusal(world, issued.code) == "ENROLMENT_REFUSED"


async def test_a_code_replaced_while_it_is_being_used_is_refused(world: TerminalWorld) -> None:
    issued = await world.registry.register(TILL, HOSPITAL)
    certificate = world.authority.issue(TILL, KEY.public_key, START, START + dt.timedelta(days=1))
    old = await world.pool.fetchval("select enrolment_code_digest from terminal where terminal_id = $1", TILL)
    await world.registry.register(TILL, HOSPITAL)
    enrolled = await world.pool.fetchval(
        "select enrol_terminal($1, $2, $3, $4, $5, $6)",
        TILL,
        old,
        certificate.der,
        certificate.fingerprint,
        certificate.not_after,
        world.clock.now(),
    )
    assert enrolled is False
    assert await refusal(world, issued.code) == "ENROLMENT_REFUSED"


async def test_of_twenty_at_once_with_one_code_one_is_enrolled(world: TerminalWorld) -> None:
    issued = await world.registry.register(TILL, HOSPITAL)
    request = enrol_request(TILL, issued.code, KEY)
    results = await asyncio.gather(*(world.registry.enrol(request) for _ in range(20)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, ServiceError)]
    assert len(refused) == 19
    assert {error.code for error in refused} == {"ENROLMENT_REFUSED"}


async def test_a_code_expires(world: TerminalWorld) -> None:
    issued = await world.registry.register(TILL, HOSPITAL)
    world.clock.move(hours=72)
    assert await refusal(world, issued.code) == "ENROLMENT_REFUSED"


async def test_ten_wrong_tries_end_the_code_also_side_by_side(world: TerminalWorld) -> None:
    issued = await world.registry.register(TILL, HOSPITAL)
    codes = await asyncio.gather(*(refusal(world, f"WRONG-CODE-{n}") for n in range(10)))
    assert set(codes) == {"ENROLMENT_REFUSED"}
    assert await refusal(world, issued.code) == "ENROLMENT_REFUSED"
    renewed = await world.registry.register(TILL, HOSPITAL)
    assert renewed.renewed
    await world.registry.enrol(enrol_request(TILL, renewed.code, KEY))


async def test_nine_wrong_tries_do_not(world: TerminalWorld) -> None:
    issued = await world.registry.register(TILL, HOSPITAL)
    for n in range(9):
        await refusal(world, f"WRONG-CODE-{n}")
    await world.registry.enrol(enrol_request(TILL, issued.code, KEY))


async def test_an_unknown_terminal_and_a_wrong_code_look_alike(world: TerminalWorld) -> None:
    issued = await world.registry.register(TILL, HOSPITAL)
    await world.registry.register("TILL0002", HOSPITAL)
    assert await refusal(world, issued.code, terminal_id="TILL0009") == "ENROLMENT_REFUSED"
    assert await refusal(world, issued.code, terminal_id="TILL0002") == "ENROLMENT_REFUSED"


async def test_a_new_code_ends_the_old_one(world: TerminalWorld) -> None:
    old = await world.registry.register(TILL, HOSPITAL)
    await world.registry.register(TILL, HOSPITAL)
    assert await refusal(world, old.code) == "ENROLMENT_REFUSED"


@pytest.mark.parametrize(
    "csr",
    [
        "",
        "-----BEGIN CERTIFICATE REQUEST-----\n",
        "-----BEGIN CERTIFICATE REQUEST-----\n!!!!\n-----END CERTIFICATE REQUEST-----\n",
        "-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n",
        "\x00\ufffd证书",
        "other terminal",
        "wrong signature",
        "cut",
    ],
)
async def test_a_bad_request_is_refused_and_the_code_stays(world: TerminalWorld, csr: str) -> None:
    issued = await world.registry.register(TILL, HOSPITAL)
    good = enrol_request(TILL, issued.code, KEY)
    bad = {
        "other terminal": lambda: enrol_request(TILL, issued.code, KEY, common_name="TILL0002").csr_pem,
        "wrong signature": lambda: _tampered(good.csr_pem),
        "cut": lambda: good.csr_pem[: len(good.csr_pem) // 2],
    }.get(csr, lambda: csr)()
    with pytest.raises(ServiceError) as caught:
        await world.registry.enrol(msgspec.structs.replace(good, csr_pem=bad))
    assert (caught.value.code, caught.value.field) == ("CSR_INVALID", "csr_pem")
    await world.registry.enrol(good)


def _tampered(pem: str) -> str:
    first, *middle, last = pem.strip().splitlines()
    der = bytearray(base64.b64decode("".join(middle)))
    der[-1] ^= 1
    return f"{first}\n{base64.b64encode(bytes(der)).decode()}\n{last}\n"


async def test_suspension_stops_enrolment(world: TerminalWorld) -> None:
    issued = await world.registry.register(TILL, HOSPITAL)
    await world.registry.suspend(TILL, "lost")
    assert await refusal(world, issued.code) == "TERMINAL_SUSPENDED"
    await world.registry.resume(TILL)
    await world.registry.suspend_institution(HOSPITAL, "closed")
    assert await refusal(world, issued.code) == "INSTITUTION_SUSPENDED"
    await world.registry.resume_institution(HOSPITAL)
    await world.registry.enrol(enrol_request(TILL, issued.code, KEY))


async def test_enrolling_again_ends_sessions_and_the_old_certificate(world: TerminalWorld) -> None:
    till = await world.till()
    session = await till.sign_in()
    renewed = await world.registry.register(TILL, HOSPITAL)
    await world.registry.authenticate("GET", "/", session.headers("GET", "/"), b"")  # the old one still works
    await world.registry.enrol(enrol_request(TILL, renewed.code, KEY))
    with pytest.raises(ServiceError) as caught:
        await world.registry.authenticate("GET", "/", session.headers("GET", "/"), b"")
    assert caught.value.code == "SESSION_EXPIRED"
    with pytest.raises(ServiceError) as caught:
        await till.sign_in()
    assert caught.value.code == "TERMINAL_CERTIFICATE_UNKNOWN"


async def test_a_terminal_stays_with_its_institution(world: TerminalWorld) -> None:
    await world.till()
    with pytest.raises(BelongsElsewhere):
        await world.registry.register(TILL, PHARMACY)
    with pytest.raises(UnknownInstitution):
        await world.registry.register("TILL0002", "X" * 12)
    assert [entry.institution_id for entry in await world.registry.terminals()] == [HOSPITAL]

"""People and cards are entered once, found again, and only with what belongs together."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from typing import Any

import pytest

from settlement.cards.checks import bank_notice
from settlement.cards.errors import (
    CardAlreadyRegistered,
    CardNotRegistrable,
    CreditDiffers,
    NumberInvalid,
    PersonNameDiffers,
    PersonUnknown,
)
from settlement.cards.issuing import issue_virtual, made_up_card_number, made_up_pan
from settlement.cards.registry import CardRegistry, legacy_master_key
from settlement.errors import ServiceError
from settlement.security import KeyRing, Personal, PersonalDataError
from terminal_sdk.card import CardImage, VirtualCard, legacy_check_value, read_card
from terminal_sdk.crypto import CertificateAuthority, Sm2PrivateKey
from terminal_sdk.reader import VirtualReader
from tests.support.cards import Issue, Pool, SetClock, new_id_number


async def test_a_registered_card_is_loaded_with_its_accounts(registry: CardRegistry, issue: Issue) -> None:
    image = await issue(new_id_number())
    card = await registry.load(image.card_number)
    certificate = image.certificate()
    assert (card.kind, card.life, card.social, card.financial) == (
        "third_generation",
        "issued",
        "inactive",
        "inactive",
    )
    assert card.expires_on == image.expires_on
    assert card.certificate_fingerprint == certificate.fingerprint
    assert card.certificate_not_after == certificate.not_after
    assert card.public_key == certificate.public_key.to_bytes()
    assert (card.last_counter, card.account_version) == (0, 0)
    assert (card.current_year_available_fen, card.carried_over_available_fen) == (0, 0)
    assert await registry.pan(card) == image.pan
    assert await registry.patient_name(card.person_id) == image.name
    assert await registry.card_number(card.person_id, card.card_id) == image.card_number


async def test_a_card_that_is_read_is_the_card_that_is_loaded(registry: CardRegistry, issue: Issue) -> None:
    image = await issue(new_id_number(), activate="financial")
    read = read_card(VirtualReader(VirtualCard(image)))
    card = await registry.load(read.card_number)
    assert read.reference().certificate_fingerprint == card.certificate_fingerprint
    assert bank_notice(card) is None


async def test_a_legacy_card_has_neither_key_nor_bank(registry: CardRegistry, issue: Issue, keys: KeyRing) -> None:
    image = await issue(new_id_number(), legacy=True)
    card = await registry.load(image.card_number)
    assert (card.kind, card.public_key, card.certificate_fingerprint, card.bank_code) == ("legacy", None, None, None)
    static_data = image.public_file.static_data()
    expected = legacy_check_value(legacy_master_key(keys), image.card_number, static_data)
    assert image.check_value == expected.hex()
    with pytest.raises(ServiceError, match="NO_BANK_ACCOUNT"):
        await registry.pan(card)


@pytest.mark.parametrize("number", ["ZZZZZZZZZ", "nonsense", "", "' or 1=1"])
async def test_an_unknown_card_has_its_own_code(number: str, registry: CardRegistry) -> None:
    for call in (registry.load, registry.describe, registry.activate_social, registry.report_lost):
        with pytest.raises(ServiceError, match="CARD_UNKNOWN"):
            await call(number)


async def test_a_card_is_found_by_every_spelling_of_its_number(registry: CardRegistry, issue: Issue) -> None:
    image = await issue(new_id_number())
    card = await registry.load(image.card_number)
    assert await registry.load(image.card_number.lower()) == card


async def test_a_person_is_entered_once_however_many_come_at_once(registry: CardRegistry, pool: Pool) -> None:
    number = new_id_number()
    ids = await asyncio.gather(*(registry.register_person("王芳", number.lower()) for _ in range(20)))
    assert len(set(ids)) == 1
    assert await registry.register_person(" 王芳 ", number) == ids[0]
    assert await pool.fetchval("select count(*) from insurance_accounts where person_id = $1", ids[0]) == 1


async def test_an_id_number_under_another_name_is_refused(registry: CardRegistry) -> None:
    number = new_id_number()
    person_id = await registry.register_person("王芳", number)
    with pytest.raises(PersonNameDiffers) as refused:
        await registry.register_person("王方", number)
    assert refused.value.person_id == person_id
    assert await registry.patient_name(person_id) == "王芳"


async def test_a_card_number_is_entered_once(
    registry: CardRegistry, issue: Issue, card_ca: CertificateAuthority, keys: KeyRing
) -> None:
    image = await issue(new_id_number())
    before = await registry.load(image.card_number)
    other = new_id_number()
    results = await asyncio.gather(
        *(
            issue_virtual(
                registry, card_ca, keys, name="李强", id_number=other, bank_code="CCB", card_number=image.card_number
            )
            for _ in range(3)
        ),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [CardAlreadyRegistered] * 3
    assert await registry.load(image.card_number) == before


async def test_a_certificate_must_be_valid_now_and_this_cards(
    registry: CardRegistry, card_ca: CertificateAuthority, clock: SetClock
) -> None:
    person_id = await registry.register_person("王芳", new_id_number())
    number, key, now, day = made_up_card_number(), Sm2PrivateKey.generate(), clock.now(), dt.timedelta(days=1)
    stranger = CertificateAuthority.create_root("Card CA", now - day, now + day)
    wrong = {
        "untrusted": stranger.issue(number, key.public_key, now - day, now + day),
        "expired": card_ca.issue(number, key.public_key, now - 2 * day, now - day),
        "not_yet_valid": card_ca.issue(number, key.public_key, now + day, now + 2 * day),
        "subject": card_ca.issue("A00000000", key.public_key, now - day, now + day),
        "authority": card_ca.issue(number, key.public_key, now - day, now + day, is_ca=True),
    }
    for reason, certificate in wrong.items():
        with pytest.raises(CardNotRegistrable) as refused:
            await registry.register_third_generation(
                person_id,
                card_number=number,
                certificate=certificate,
                issued_on=registry.today(),
                expires_on=registry.today() + day,
            )
        assert refused.value.reason == reason
    with pytest.raises(ServiceError, match="CARD_UNKNOWN"):
        await registry.load(number)


async def test_a_third_generation_card_may_be_without_a_bank(
    registry: CardRegistry, card_ca: CertificateAuthority, clock: SetClock
) -> None:
    person_id = await registry.register_person("王芳", new_id_number())
    number, now, day = made_up_card_number(), clock.now(), dt.timedelta(days=1)
    certificate = card_ca.issue(number, Sm2PrivateKey.generate().public_key, now - day, now + day)
    dates: dict[str, Any] = {"issued_on": registry.today(), "expires_on": registry.today() + day}
    with pytest.raises(CardNotRegistrable, match="both"):
        await registry.register_third_generation(
            person_id, card_number=number, certificate=certificate, pan=made_up_pan(), **dates
        )
    await registry.register_third_generation(person_id, card_number=number, certificate=certificate, **dates)
    assert bank_notice(await registry.load(number)) == "NO_BANK_ACCOUNT"
    with pytest.raises(ServiceError, match="NO_BANK_ACCOUNT"):
        await registry.activate_financial(number)


async def test_what_does_not_belong_together_is_refused(registry: CardRegistry) -> None:
    today = registry.today()
    person_id = await registry.register_person("王芳", new_id_number())
    with pytest.raises(CardNotRegistrable, match="expires"):
        await registry.register_legacy(person_id, card_number="C00000001", issued_on=today, expires_on=today)
    with pytest.raises(PersonUnknown):
        await registry.register_legacy(
            2**62, card_number="C00000001", issued_on=today, expires_on=today + dt.timedelta(days=1)
        )
    with pytest.raises(NumberInvalid):
        await registry.register_legacy(
            person_id, card_number="short", issued_on=today, expires_on=today + dt.timedelta(days=1)
        )
    with pytest.raises(ServiceError, match="CARD_UNKNOWN"):
        await registry.load("C00000001")


async def test_nothing_is_registered_for_a_card_that_cannot_be_made(
    registry: CardRegistry, card_ca: CertificateAuthority, keys: KeyRing, pool: Pool
) -> None:
    before = await pool.fetchval("select count(*) from person")
    wrong: list[dict[str, Any]] = [
        {"bank_code": None},
        {"bank_code": "ICBC", "pin": "1"},
        {"kind": "legacy", "bank_code": "ICBC"},
    ]
    for faults in wrong:
        with pytest.raises((CardNotRegistrable, ValueError)):
            await issue_virtual(
                registry,
                card_ca,
                keys,
                name="王芳",
                id_number=new_id_number(),
                **faults,
            )
    assert await pool.fetchval("select count(*) from person") == before


async def test_a_sealed_value_opens_in_its_own_row_and_column_only(
    registry: CardRegistry, issue: Issue, pool: Pool
) -> None:
    one, other = await issue(new_id_number()), await issue(new_id_number(), name="李强")
    first, second = await registry.load(one.card_number), await registry.load(other.card_number)
    connection = await pool.acquire()
    swapped = connection.transaction()
    await swapped.start()
    try:
        await connection.execute(
            "update person p set name_sealed = o.name_sealed from person o where p.person_id = $1 and o.person_id = $2",
            first.person_id,
            second.person_id,
        )
        stolen: bytes = await connection.fetchval(
            "select name_sealed from person where person_id = $1", first.person_id
        )
        with pytest.raises(PersonalDataError):
            registry._vault.name.open(stolen, first.person_id)
        assert registry._vault.name.open(stolen, second.person_id) == "李强"
        assert second.pan_sealed is not None
        with pytest.raises(PersonalDataError):
            registry._vault.pan.open(second.pan_sealed, second.person_id, first.card_id)
        with pytest.raises(PersonalDataError):
            registry._vault.card_number.open(second.pan_sealed, second.person_id, second.card_id)
    finally:
        await swapped.rollback()
        await pool.release(connection)


async def test_another_master_key_finds_nothing(
    registry: CardRegistry, issue: Issue, pool: Pool, clock: SetClock
) -> None:
    image = await issue(new_id_number())
    stranger = KeyRing(bytes(32))
    with pytest.raises(ServiceError, match="CARD_UNKNOWN"):
        await CardRegistry(pool, Personal(stranger), stranger, clock, []).load(image.card_number)


async def test_a_credit_is_booked_once(registry: CardRegistry, issue: Issue) -> None:
    image = await issue(new_id_number())
    credit_id = uuid.uuid4()
    assert await registry.credit(image.card_number, "current_year", 150_000, credit_id, "monthly")
    assert not await registry.credit(image.card_number, "current_year", 150_000, credit_id, "monthly")
    with pytest.raises(CreditDiffers):
        await registry.credit(image.card_number, "current_year", 150_001, credit_id, "monthly")
    person_id = (await registry.load(image.card_number)).person_id
    assert await registry.credit(person_id, "carried_over", 7, uuid.uuid4(), "last year")
    card = await registry.load(image.card_number)
    assert (card.current_year_available_fen, card.carried_over_available_fen) == (150_000, 7)
    assert card.account_version == 2


@pytest.mark.parametrize("amount", [0, -1, 2**63])
async def test_an_impossible_credit_is_refused(amount: int, registry: CardRegistry, issue: Issue) -> None:
    image = await issue(new_id_number())
    with pytest.raises(ValueError, match="fen"):
        await registry.credit(image.card_number, "current_year", amount, uuid.uuid4(), "monthly")


async def test_a_credit_needs_a_person(registry: CardRegistry) -> None:
    with pytest.raises(PersonUnknown):
        await registry.credit(2**62, "current_year", 1, uuid.uuid4(), "monthly")


async def test_cards_are_listed_in_pages_and_described_masked(registry: CardRegistry, issue: Issue) -> None:
    number = new_id_number()
    images: list[CardImage] = [await issue(number, legacy=True, activate="social"), await issue(number)]
    keys = [(card.person_id, card.card_id) for card in [await registry.load(i.card_number) for i in images]]
    page = await registry.list(after=(keys[0][0], keys[0][1] - 1), limit=2)
    assert [(card.person_id, card.card_id) for card in page] == keys
    shown = await registry.describe(images[1].card_number)
    assert shown.card == page[1]
    assert (shown.name, shown.id_number) == ("张**", "*" * 14 + number[-4:])
    assert shown.card.card_number == "*****" + images[1].card_number[-4:]
    assert images[1].pan is not None
    assert shown.pan == "*" * 15 + images[1].pan[-4:]
    assert [event.event for event in shown.events] == ["registered"]

"""Nothing of a person is in clear in the database, in messages or in what is printed of our objects."""

from __future__ import annotations

import base64
import logging
import traceback
import uuid
from collections.abc import Awaitable, Iterator

import pytest

from settlement.cards.errors import CardAlreadyRegistered, NumberInvalid, PersonNameDiffers
from settlement.cards.issuing import issue_virtual
from settlement.cards.registry import CardRegistry
from settlement.errors import ServiceError
from settlement.security import KeyRing
from terminal_sdk.card import CardImage
from terminal_sdk.crypto import CertificateAuthority
from tests.support.cards import Issue, Pool, new_id_number

NAME = "欧阳娜娜"


def spellings(secret: str) -> Iterator[bytes]:
    """A secret in the encodings that it could lie in: text, its hex in either case, base64 at each offset, reversed."""
    for encoding in ("utf-8", "gbk", "utf-16-le", "utf-16-be"):
        raw = secret.encode(encoding)
        yield raw
        yield raw.hex().encode()
        yield raw.hex().upper().encode()
        for offset in range(3):
            encoded = base64.b64encode(b"\0" * offset + raw)
            yield encoded[4 if offset else 0 : -4]
    yield secret[::-1].encode()


async def dump(pool: Pool) -> bytes:
    """Every row of every table as the server prints it, and every binary value as it is."""
    tables = await pool.fetch("select quote_ident(tablename) as name from pg_tables where schemaname = 'public'")
    parts = []
    for table in tables:
        rows = await pool.fetch(f"select t::text as printed, t.* from {table['name']} t")  # noqa: S608 - from pg_tables
        for row in rows:
            parts.append(row["printed"].encode())
            parts += [value for value in row.values() if isinstance(value, bytes)]
    return b"\n".join(parts)


def found_in(text: bytes, secrets: list[str]) -> list[tuple[int, bytes]]:
    return [(n, spelling) for n, secret in enumerate(secrets) for spelling in spellings(secret) if spelling in text]


def secrets_of(image: CardImage) -> list[str]:
    secrets = [image.name, image.social_security_number, image.card_number]
    return [*secrets, image.pan] if image.pan else secrets


async def test_no_table_holds_a_name_or_number_in_clear(registry: CardRegistry, issue: Issue, pool: Pool) -> None:
    number = new_id_number()
    images = [
        await issue(number, name=NAME, legacy=True, activate="social"),
        await issue(number, name=NAME, activate="financial"),
    ]
    await registry.freeze(images[1].card_number, "financial")
    await registry.report_lost(images[1].card_number)
    await registry.revoke_certificate(images[1].card_number)
    await registry.credit(images[1].card_number, "current_year", 100, uuid.uuid4(), "monthly")
    text = await dump(pool)
    for image in images:
        card = await registry.load(image.card_number)
        assert f"{card.person_id},{card.card_id},{image.kind},".encode() in text, "the dump holds these very rows"
        assert found_in(text, secrets_of(image)) == []


async def test_the_search_itself_finds_what_is_in_clear(issue: Issue, pool: Pool) -> None:
    image = await issue(new_id_number(), name=NAME)
    for secret in secrets_of(image):
        for encoding in ("utf-8", "gbk"):
            planted = b"x" + secret.encode(encoding) + b"x"
            await pool.execute("insert into request_nonce values ('T', $1, now(), $2)", planted.hex(), uuid.uuid4())
            assert found_in(await dump(pool), [secret]) != []
            await pool.execute("delete from request_nonce where terminal_id = 'T'")
    assert found_in(await dump(pool), secrets_of(image)) == []


async def test_the_same_value_is_sealed_differently_each_time(registry: CardRegistry, issue: Issue, pool: Pool) -> None:
    first, second = await issue(new_id_number(), name=NAME), await issue(new_id_number(), name=NAME)
    people = [(await registry.load(image.card_number)).person_id for image in (first, second)]
    rows = await pool.fetch("select name_sealed from person where person_id = any ($1)", people)
    assert len({row["name_sealed"] for row in rows}) == 2


async def test_no_refusal_repeats_a_name_or_number(
    registry: CardRegistry,
    issue: Issue,
    card_ca: CertificateAuthority,
    keys: KeyRing,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    number = new_id_number()
    image = await issue(number, name=NAME)
    stranger = new_id_number()
    told = []
    again = issue_virtual(
        registry,
        card_ca,
        keys,
        name=NAME,
        id_number=stranger,
        card_number=image.card_number,
        bank_code="ICBC",
        pan=image.pan,
    )
    calls: list[tuple[type[Exception], Awaitable[object]]] = [
        (PersonNameDiffers, registry.register_person("欧阳娜", number)),
        (NumberInvalid, registry.register_person(NAME, number[:-1])),
        (CardAlreadyRegistered, again),
        (ServiceError, registry.freeze(image.card_number, "social")),
        (ServiceError, registry.load("ZZZZZZZZZ")),
    ]
    for expected, call in calls:
        with pytest.raises(expected) as refused:
            await call
        told.append("".join(traceback.format_exception(refused.value)))
    loaded, described = await registry.load(image.card_number), await registry.describe(image.card_number)
    told += [repr(image), repr(loaded), repr(described)]
    told += [repr(await registry.list()), caplog.text]
    # source lines in a traceback are ours, not data
    assert found_in("\n".join(told).encode(), [*secrets_of(image), stranger, number[:-1]]) == []

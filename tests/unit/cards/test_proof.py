"""A proof is good for one card, one bill, one terminal and a short time; everything else is refused."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import msgspec
import pytest

from settlement.cards.model import CardContext
from settlement.cards.proof import verify_proof
from settlement.errors import ServiceError
from terminal_sdk.card import CardImage, CardSession, VirtualCard
from terminal_sdk.crypto import Sm2PrivateKey
from terminal_sdk.reader import VirtualReader
from terminal_sdk.wire import CardProof, LegacyProof

BILL: dict[str, Any] = {"terminal_id": "T0000001", "visit_no": "V-1", "total_fen": 12_345, "agreed": "ceiling:12345"}
MAX_AGE_S = 300


def prove(image: CardImage, now: dt.datetime) -> CardProof | LegacyProof:
    with CardSession(VirtualReader(VirtualCard(image))) as session:
        return session.prove(now=now, **BILL)


async def verify(
    context: CardContext,
    proof: CardProof | LegacyProof,
    image: CardImage,
    now: dt.datetime,
    master_key: bytes,
    **changes: Any,
) -> None:
    facts: dict[str, Any] = {"card_number": image.card_number, "now": now} | BILL | changes
    await verify_proof(context, proof, max_age_s=MAX_AGE_S, legacy_master_key=master_key, **facts)


async def refusal(*arguments: Any, **changes: Any) -> str:
    with pytest.raises(ServiceError) as refused:
        await verify(*arguments, **changes)
    return refused.value.code


async def test_a_card_proves_itself(
    third: CardContext, third_image: CardImage, now: dt.datetime, master_key: bytes
) -> None:
    await verify(third, prove(third_image, now), third_image, now, master_key)


async def test_a_legacy_card_proves_itself(
    legacy: CardContext, legacy_image: CardImage, now: dt.datetime, master_key: bytes
) -> None:
    await verify(legacy, prove(legacy_image, now), legacy_image, now, master_key)


@pytest.mark.parametrize(
    "change",
    [
        {"card_number": "A12345679"},
        {"terminal_id": "T0000002"},
        {"visit_no": "V-2"},
        {"total_fen": 12_346},
        {"agreed": "ceiling:12346"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_a_signature_is_bound_to_every_fact_of_the_bill(
    change: dict[str, Any], third: CardContext, third_image: CardImage, now: dt.datetime, master_key: bytes
) -> None:
    proof = prove(third_image, now)
    assert await refusal(third, proof, third_image, now, master_key, **change) == "CARD_PROOF_INVALID"


@pytest.mark.parametrize("field", ["counter", "signed_at_ms", "signature"])
async def test_an_altered_proof_is_refused(
    field: str, third: CardContext, third_image: CardImage, now: dt.datetime, master_key: bytes
) -> None:
    proof = prove(third_image, now)
    assert isinstance(proof, CardProof)
    value = "0" * 128 if field == "signature" else getattr(proof, field) + 1
    altered = msgspec.structs.replace(proof, **{field: value})
    assert await refusal(third, altered, third_image, now, master_key) == "CARD_PROOF_INVALID"


async def test_the_key_of_another_card_is_refused(
    third: CardContext, third_image: CardImage, now: dt.datetime, master_key: bytes
) -> None:
    other = dataclasses.replace(third, public_key=Sm2PrivateKey.generate().public_key.to_bytes())
    assert await refusal(other, prove(third_image, now), third_image, now, master_key) == "CARD_PROOF_INVALID"


@pytest.mark.parametrize(("offset_s", "fresh"), [(-301, False), (-300, True), (300, True), (301, False)])
async def test_a_proof_is_good_for_a_short_time(
    offset_s: int, fresh: bool, third: CardContext, third_image: CardImage, now: dt.datetime, master_key: bytes
) -> None:
    proof = prove(third_image, now + dt.timedelta(seconds=offset_s))
    if fresh:
        await verify(third, proof, third_image, now, master_key)
    else:
        assert await refusal(third, proof, third_image, now, master_key) == "CARD_PROOF_STALE"


@pytest.mark.parametrize(
    ("last_counter", "code"), [(0, None), (1, "CARD_COUNTER_REPLAYED"), (7, "CARD_COUNTER_REPLAYED")]
)
async def test_the_counter_must_rise(
    last_counter: int,
    code: str | None,
    third: CardContext,
    third_image: CardImage,
    now: dt.datetime,
    master_key: bytes,
) -> None:
    proof = prove(third_image, now)
    assert isinstance(proof, CardProof)
    assert proof.counter == 1
    context = dataclasses.replace(third, last_counter=last_counter)
    if code is None:
        await verify(context, proof, third_image, now, master_key)
    else:
        assert await refusal(context, proof, third_image, now, master_key) == code


async def test_a_card_with_a_key_cannot_fall_back_to_the_legacy_proof(
    third: CardContext, third_image: CardImage, legacy_image: CardImage, now: dt.datetime, master_key: bytes
) -> None:
    same_number = CardImage.legacy(
        master_key,
        card_number=third_image.card_number,
        name=third_image.name,
        social_security_number=third_image.social_security_number,
        issued_on=third_image.issued_on,
        expires_on=third_image.expires_on,
    )
    proof = prove(same_number, now)
    assert isinstance(proof, LegacyProof)
    assert await refusal(third, proof, third_image, now, master_key) == "CARD_PROOF_INVALID"


async def test_a_legacy_card_cannot_prove_by_a_signature(
    legacy: CardContext, third_image: CardImage, legacy_image: CardImage, now: dt.datetime, master_key: bytes
) -> None:
    assert await refusal(legacy, prove(third_image, now), legacy_image, now, master_key) == "CARD_PROOF_INVALID"


async def test_a_check_value_is_bound_to_data_and_issuer(
    legacy: CardContext, legacy_image: CardImage, now: dt.datetime, master_key: bytes
) -> None:
    proof = prove(legacy_image, now)
    assert isinstance(proof, LegacyProof)
    flipped = f"{int(proof.check_value, 16) ^ 1:016x}"
    wrong = [
        msgspec.structs.replace(proof, check_value=flipped),
        msgspec.structs.replace(proof, static_data=proof.static_data.replace("2028", "2038")),
        msgspec.structs.replace(proof, static_data="00"),
        msgspec.structs.replace(proof, static_data=proof.static_data + "00"),
    ]
    assert wrong[1] != proof
    for altered in wrong:
        assert await refusal(legacy, altered, legacy_image, now, master_key) == "CARD_PROOF_INVALID"
    assert await refusal(legacy, proof, legacy_image, now, b"another issuer's") == "CARD_PROOF_INVALID"


async def test_the_check_value_of_another_card_is_refused(
    legacy: CardContext, legacy_image: CardImage, now: dt.datetime, master_key: bytes
) -> None:
    proof = prove(legacy_image, now)
    code = await refusal(legacy, proof, legacy_image, now, master_key, card_number="B87654322")
    assert code == "CARD_PROOF_INVALID"

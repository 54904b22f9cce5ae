"""The life of cards: every change against a small model of what it means, and a history that never changes."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import asyncpg
import pytest

from settlement.cards.checks import check_usable
from settlement.cards.registry import CardRegistry
from settlement.errors import ServiceError
from terminal_sdk.card import CardImage
from terminal_sdk.wire import CardRef
from tests.support.cards import Issue, Pool, SetClock, new_id_number


async def states(registry: CardRegistry, image: CardImage) -> tuple[str, str, str]:
    card = await registry.load(image.card_number)
    return card.life, card.social, card.financial


async def events(registry: CardRegistry, image: CardImage) -> list[str]:
    return [event.event for event in (await registry.describe(image.card_number)).events]


async def test_activating_the_new_card_voids_the_old_one(registry: CardRegistry, issue: Issue, clock: SetClock) -> None:
    number = new_id_number()
    old = await issue(number, legacy=True, activate="social")
    new = await issue(number)
    check_usable(await registry.load(old.card_number), CardRef(card_number=old.card_number), clock.now())
    await registry.activate_social(new.card_number)
    assert await states(registry, old) == ("void", "active", "inactive")
    assert await states(registry, new) == ("issued", "active", "inactive")
    history = (await registry.describe(old.card_number)).events
    assert [event.event for event in history] == ["registered", "social_activated", "voided"]
    assert history[-1].replaced_by == (await registry.load(new.card_number)).card_id


async def test_the_financial_function_activates_the_social_one_with_it(registry: CardRegistry, issue: Issue) -> None:
    number = new_id_number()
    old, new = await issue(number, activate="financial"), await issue(number)
    await registry.activate_financial(new.card_number)
    assert await states(registry, new) == ("issued", "active", "active")
    assert await states(registry, old) == ("void", "active", "active")
    assert await events(registry, new) == ["registered", "social_activated", "financial_activated"]


async def test_a_lost_card_stays_lost_when_its_successor_is_activated(registry: CardRegistry, issue: Issue) -> None:
    number = new_id_number()
    old, new = await issue(number, activate="social"), await issue(number)
    await registry.report_lost(old.card_number)
    await registry.activate_social(new.card_number)
    assert await states(registry, old) == ("lost", "active", "inactive")


async def test_a_person_has_another_persons_card_untouched(registry: CardRegistry, issue: Issue) -> None:
    other = await issue(new_id_number(), activate="financial")
    await issue(new_id_number(), activate="financial")
    assert await states(registry, other) == ("issued", "active", "active")


@pytest.mark.parametrize("legacy", [False, True])
async def test_an_expired_card_is_not_activated(
    legacy: bool, registry: CardRegistry, issue: Issue, clock: SetClock
) -> None:
    image = await issue(new_id_number(), legacy=legacy)
    last_moment = dt.datetime.combine(image.expires_on, dt.time(16), dt.UTC) - dt.timedelta(seconds=1)
    clock.moment = last_moment + dt.timedelta(seconds=1)
    with pytest.raises(ServiceError, match="CARD_EXPIRED"):
        await registry.activate_social(image.card_number)
    clock.moment = last_moment
    await registry.activate_social(image.card_number)


async def test_a_card_with_a_revoked_certificate_is_not_activated(registry: CardRegistry, issue: Issue) -> None:
    number = new_id_number()
    old, new = await issue(number, activate="social"), await issue(number)
    await registry.revoke_certificate(new.card_number)
    await registry.revoke_certificate(new.card_number)
    with pytest.raises(ServiceError, match="CARD_CERTIFICATE_REVOKED"):
        await registry.activate_social(new.card_number)
    assert await states(registry, old) == ("issued", "active", "inactive")
    assert await events(registry, new) == ["registered", "certificate_revoked"]


async def test_a_legacy_card_has_no_certificate_to_revoke(registry: CardRegistry, issue: Issue) -> None:
    image = await issue(new_id_number(), legacy=True)
    with pytest.raises(ServiceError, match="NO_CERTIFICATE"):
        await registry.revoke_certificate(image.card_number)


async def test_the_database_alone_keeps_a_person_to_one_valid_card(
    registry: CardRegistry, issue: Issue, pool: Pool
) -> None:
    number = new_id_number()
    await issue(number, activate="social")
    second = await registry.load((await issue(number)).card_number)
    for social in ("active", "frozen"):
        with pytest.raises(asyncpg.UniqueViolationError, match="card_one_valid"):
            await pool.execute("update card set social = $2 where card_id = $1", second.card_id, social)


@pytest.mark.parametrize(
    "change", ["update card_event set event = 'nothing'", "delete from card_event", "truncate card_event"]
)
async def test_the_history_cannot_be_changed(change: str, issue: Issue, pool: Pool) -> None:
    await issue(new_id_number())
    with pytest.raises(asyncpg.RestrictViolationError):
        await pool.execute(change)


@dataclass
class ModelCard:
    """What one card ought to be."""

    has_bank: bool
    life: str = "issued"
    social: str = "inactive"
    financial: str = "inactive"


def model_change(cards: list[ModelCard], place: int, verb: str) -> str | None:
    """Apply a change to the model; the code of the refusal, or None."""
    card = cards[place]
    if verb == "void":
        card.life = "void"
        return None
    if card.life == "void":
        return "CARD_VOID"
    if verb == "lost":
        card.life = "lost"
        return None
    if card.life == "lost":
        return "CARD_LOST"
    action, function = verb.split()
    if function == "financial" and not card.has_bank:
        return "NO_BANK_ACCOUNT"
    return model_activate(cards, card, function) if action == "activate" else model_freeze(card, action, function)


def model_activate(cards: list[ModelCard], card: ModelCard, function: str) -> str | None:
    if getattr(card, function) == "frozen":
        return "CARD_FROZEN" if function == "social" else "FINANCIAL_FROZEN"
    if card.social == "inactive":
        for other in cards:
            if other.life == "issued" and other.social != "inactive":
                other.life = "void"
        card.social = "active"
    setattr(card, function, "active")
    return None


def model_freeze(card: ModelCard, action: str, function: str) -> str | None:
    if getattr(card, function) == "inactive":
        return "CARD_NOT_ACTIVATED" if function == "social" else "FINANCIAL_NOT_ACTIVE"
    setattr(card, function, "frozen" if action == "freeze" else "active")
    return None


VERBS = [
    *("activate social", "activate financial"),
    *("freeze social", "freeze financial", "unfreeze social", "unfreeze financial"),
    *("lost", "void"),
]


def real_change(registry: CardRegistry, number: str, verb: str) -> Awaitable[None]:
    action, _, function = verb.partition(" ")
    calls: dict[str, Callable[[], Awaitable[None]]] = {
        "activate social": lambda: registry.activate_social(number),
        "activate financial": lambda: registry.activate_financial(number),
        "freeze": lambda: registry.freeze(number, function),  # type: ignore[arg-type]  # one of the two
        "unfreeze": lambda: registry.unfreeze(number, function),  # type: ignore[arg-type]
        "lost": lambda: registry.report_lost(number),
        "void": lambda: registry.void(number),
    }
    return calls[verb if action == "activate" else action]()


@pytest.mark.parametrize("seed", range(12))
async def test_any_sequence_of_changes_does_what_the_model_says(
    seed: int, registry: CardRegistry, issue: Issue, pool: Pool
) -> None:
    chance = random.Random(seed)
    number = new_id_number()
    images = [await issue(number, legacy=True), await issue(number), await issue(number), await issue(number)]
    model = [ModelCard(has_bank=image.kind != "legacy") for image in images]
    person_id = (await registry.load(images[0].card_number)).person_id
    weights = [4, 4, 2, 2, 2, 2, 0.4, 0.2]
    for _ in range(40):
        place, verb = chance.randrange(len(images)), chance.choices(VERBS, weights)[0]
        expected = model_change(model, place, verb)
        before = await pool.fetchval("select count(*) from card_event where person_id = $1", person_id)
        earlier = [await states(registry, image) for image in images]
        try:
            await real_change(registry, images[place].card_number, verb)
            refused = None
        except ServiceError as error:
            refused = error.code
        assert refused == expected, (seed, verb)
        found = [await states(registry, image) for image in images]
        assert found == [(card.life, card.social, card.financial) for card in model], (seed, verb)
        after = await pool.fetchval("select count(*) from card_event where person_id = $1", person_id)
        # one event for each state that moved, and none for what changed nothing
        moved = sum(old != new for pair in zip(earlier, found, strict=True) for old, new in zip(*pair, strict=True))
        assert after - before == moved, (seed, verb)
        assert sum(life == "issued" and social != "inactive" for life, social, _ in found) <= 1

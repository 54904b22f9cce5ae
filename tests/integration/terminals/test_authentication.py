"""Every request: a MAC over all of it, in time, once, under an open session of a terminal that may act."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid

import pytest

from settlement.clock import epoch_ms
from settlement.errors import ServiceError
from settlement.terminals import TerminalIdentity
from tests.support.terminals import HOSPITAL, PHARMACY, SignedIn, TerminalWorld

PATH = "/v1/settlements?idempotency_key=K-0001-0001"
BODY = b'{"total_fen":4360}'
NONCE = "n" * 16


@pytest.fixture
async def signed_in(world: TerminalWorld) -> SignedIn:
    return await (await world.till()).sign_in()


async def ask(world: TerminalWorld, headers: dict[str, str], path: str = PATH) -> TerminalIdentity:
    return await world.registry.authenticate("POST", path, headers, BODY)


async def refusal(world: TerminalWorld, headers: dict[str, str], path: str = PATH) -> str:
    with pytest.raises(ServiceError) as caught:
        await ask(world, headers, path)
    return caught.value.code


async def test_a_right_request_names_terminal_and_institution(world: TerminalWorld, signed_in: SignedIn) -> None:
    who = await ask(world, signed_in.headers("POST", PATH, BODY))
    assert (who.terminal_id, who.institution_id) == ("TILL0001", HOSPITAL)
    assert (who.institution_name, who.institution_kind, who.institution_level) == ("示范医院", "hospital", 3)
    assert str(who.session_id) == signed_in.session.session_id


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", PATH, BODY),
        ("POST", PATH + "1", BODY),
        ("POST", "/v1/settlements", BODY),
        ("POST", PATH, BODY + b" "),
        ("POST", PATH, b""),
    ],
)
async def test_the_mac_covers_method_path_query_and_body(
    world: TerminalWorld, signed_in: SignedIn, method: str, path: str, body: bytes
) -> None:
    assert await refusal(world, signed_in.headers(method, path, body)) == "MAC_INVALID"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"time": "1546392600001"}, "MAC_INVALID"),
        ({"nonce": "x" * 16}, "MAC_INVALID"),
        ({"session": str(uuid.uuid4())}, "MAC_INVALID"),
        ({"mac": "0" * 64}, "MAC_INVALID"),
        ({"mac": "é" * 64}, "MAC_INVALID"),
        ({"mac": ""}, "MAC_INVALID"),
        ({"session": "no uuid"}, "SESSION_MISSING"),
        ({"time": "now"}, "SESSION_MISSING"),
        ({"time": "٣" * 13}, "SESSION_MISSING"),
        ({"nonce": "short"}, "SESSION_MISSING"),
        ({"nonce": "n" * 65}, "SESSION_MISSING"),
        ({"nonce": "n" * 16 + "\n"}, "SESSION_MISSING"),
    ],
)
async def test_headers_that_do_not_hold(
    world: TerminalWorld, signed_in: SignedIn, change: dict[str, str], code: str
) -> None:
    before = await world.books()
    assert await refusal(world, signed_in.headers("POST", PATH, BODY, **change)) == code
    assert await world.books() == before


@pytest.mark.parametrize("name", ["X-Terminal-Session", "X-Time", "X-Nonce", "X-Mac"])
async def test_each_header_is_needed(world: TerminalWorld, signed_in: SignedIn, name: str) -> None:
    headers = signed_in.headers("POST", PATH, BODY)
    del headers[name]
    with pytest.raises(ServiceError) as caught:
        await ask(world, headers)
    assert (caught.value.code, caught.value.field) == ("SESSION_MISSING", name)


async def test_a_wrong_mac_does_not_use_the_nonce_up(world: TerminalWorld, signed_in: SignedIn) -> None:
    headers = signed_in.headers("POST", PATH, BODY, signed_nonce=NONCE)
    assert await refusal(world, headers | {"X-Mac": "0" * 64}) == "MAC_INVALID"
    assert (await world.books())["request_nonce"] == 0
    await ask(world, headers)
    assert (await world.books())["request_nonce"] == 1


async def test_a_path_that_is_no_utf8(world: TerminalWorld, signed_in: SignedIn) -> None:
    assert await refusal(world, signed_in.headers("POST", PATH, BODY), "/v1/\udcff") == "MAC_INVALID"


@pytest.mark.parametrize("seconds", [-181, 181, -86_400, 86_400])
async def test_a_clock_too_far_off(world: TerminalWorld, signed_in: SignedIn, seconds: int) -> None:
    time_ms = epoch_ms(world.clock.now() + dt.timedelta(seconds=seconds))
    headers = signed_in.headers("POST", PATH, BODY, signed_time=str(time_ms))
    assert await refusal(world, headers) == "CLOCK_SKEW"


@pytest.mark.parametrize("seconds", [-180, 180])
async def test_a_clock_just_near_enough(world: TerminalWorld, signed_in: SignedIn, seconds: int) -> None:
    time_ms = epoch_ms(world.clock.now() + dt.timedelta(seconds=seconds))
    await ask(world, signed_in.headers("POST", PATH, BODY, signed_time=str(time_ms)))


async def test_a_replay(world: TerminalWorld, signed_in: SignedIn) -> None:
    headers = signed_in.headers("POST", PATH, BODY)
    await ask(world, headers)
    assert await refusal(world, headers) == "NONCE_REPLAYED"
    with pytest.raises(ServiceError, match="NONCE_REPLAYED"):  # and at another process of the service
        await world.new_registry().authenticate("POST", PATH, headers, BODY)


async def test_a_nonce_is_not_free_again_in_another_session_or_request(world: TerminalWorld) -> None:
    till = await world.till()
    first, second = await till.sign_in(), await till.sign_in()
    await ask(world, first.headers("POST", PATH, BODY, signed_nonce=NONCE))
    assert await refusal(world, second.headers("POST", PATH, BODY, signed_nonce=NONCE)) == "NONCE_REPLAYED"
    world.clock.move(seconds=1)
    assert await refusal(world, first.headers("POST", PATH, BODY, signed_nonce=NONCE)) == "NONCE_REPLAYED"


async def test_two_terminals_may_use_the_same_nonce(world: TerminalWorld) -> None:
    one = await (await world.till("TILL0001", HOSPITAL)).sign_in()
    two = await (await world.till("TILL0002", PHARMACY)).sign_in()
    await ask(world, one.headers("POST", PATH, BODY, signed_nonce=NONCE))
    who = await ask(world, two.headers("POST", PATH, BODY, signed_nonce=NONCE))
    assert (who.terminal_id, who.institution_id) == ("TILL0002", PHARMACY)


async def test_another_terminals_session_is_of_no_use(world: TerminalWorld) -> None:
    one = await (await world.till("TILL0001")).sign_in()
    two = await (await world.till("TILL0002")).sign_in()
    headers = one.headers("POST", PATH, BODY, session=two.session.session_id)
    assert await refusal(world, headers) == "MAC_INVALID"


async def test_of_a_hundred_replays_at_once_one_gets_through(world: TerminalWorld, signed_in: SignedIn) -> None:
    headers = signed_in.headers("POST", PATH, BODY)
    registries = [world.registry, world.new_registry()]
    results = await asyncio.gather(
        *(registries[n % 2].authenticate("POST", PATH, headers, BODY) for n in range(100)), return_exceptions=True
    )
    assert sum(isinstance(result, TerminalIdentity) for result in results) == 1
    assert {result.code for result in results if isinstance(result, ServiceError)} == {"NONCE_REPLAYED"}


async def test_a_hundred_requests_at_once_each_get_their_own_answer(world: TerminalWorld) -> None:
    sessions = [await (await world.till(f"TILL{n:04}")).sign_in() for n in range(4)]
    asked = [sessions[n % 4] for n in range(100)]
    results = await asyncio.gather(*(ask(world, session.headers("POST", PATH, BODY)) for session in asked))
    assert [who.terminal_id for who in results] == [session.terminal_id for session in asked]
    assert (await world.books())["request_nonce"] == 100


async def test_the_same_admission_asked_again_is_not_a_replay(world: TerminalWorld, signed_in: SignedIn) -> None:
    """What happens after a lost connection: the very call is repeated, and meets its own nonce."""
    admission, until = uuid.uuid4(), world.clock.now() + dt.timedelta(minutes=5)
    session_id = uuid.UUID(signed_in.session.session_id)
    call = "select verdict from admit_requests($1, $2, $3, $4, $5)"
    for expected, admitted_as in [("admitted", admission), ("admitted", admission), ("replayed", uuid.uuid4())]:
        arguments = ([session_id], [NONCE], [admitted_as], [until], world.clock.now())
        assert await world.pool.fetchval(call, *arguments) == expected


async def test_the_same_nonce_twice_in_one_batch(world: TerminalWorld, signed_in: SignedIn) -> None:
    session_id, until = uuid.UUID(signed_in.session.session_id), world.clock.now() + dt.timedelta(minutes=5)
    rows = await world.pool.fetch(
        "select ord, verdict from admit_requests($1, $2, $3, $4, $5)",
        [session_id, uuid.uuid4(), session_id],
        [NONCE] * 3,
        [uuid.uuid4() for _ in range(3)],
        [until] * 3,
        world.clock.now(),
    )
    assert [row["ord"] for row in rows] == [1, 2, 3]
    assert sorted(row["verdict"] for row in rows) == ["admitted", "no_session", "replayed"]
    assert rows[1]["verdict"] == "no_session"


async def test_an_expired_session(world: TerminalWorld, signed_in: SignedIn) -> None:
    world.clock.moment = signed_in.session.expires_at - dt.timedelta(milliseconds=1)
    await ask(world, signed_in.headers("POST", PATH, BODY))
    world.clock.moment = signed_in.session.expires_at
    assert await refusal(world, signed_in.headers("POST", PATH, BODY)) == "SESSION_EXPIRED"


async def test_suspension_is_seen_at_the_very_next_request(world: TerminalWorld, signed_in: SignedIn) -> None:
    await ask(world, signed_in.headers("POST", PATH, BODY))  # now this process remembers the session
    operator = world.new_registry()
    await operator.suspend("TILL0001", "lost")
    before = await world.books()
    assert await refusal(world, signed_in.headers("POST", PATH, BODY)) == "TERMINAL_SUSPENDED"
    assert await world.books() == before
    await operator.resume("TILL0001")
    assert await refusal(world, signed_in.headers("POST", PATH, BODY)) == "SESSION_EXPIRED"  # it must sign in again


async def test_an_institutions_suspension_stops_its_terminals_and_no_others(world: TerminalWorld) -> None:
    one = await (await world.till("TILL0001", HOSPITAL)).sign_in()
    two = await (await world.till("TILL0002", PHARMACY)).sign_in()
    await world.registry.suspend_institution(HOSPITAL, "closed")
    assert await refusal(world, one.headers("POST", PATH, BODY)) == "INSTITUTION_SUSPENDED"
    await ask(world, two.headers("POST", PATH, BODY))
    await world.registry.resume_institution(HOSPITAL)
    await ask(world, one.headers("POST", PATH, BODY))


async def test_purging_forgets_only_what_can_no_longer_come_back(world: TerminalWorld, signed_in: SignedIn) -> None:
    time_ms = epoch_ms(world.clock.now() + dt.timedelta(seconds=180))
    headers = signed_in.headers("POST", PATH, BODY, signed_time=str(time_ms))
    await ask(world, headers)
    world.clock.move(seconds=360)  # the last moment at which this X-Time is in time
    await world.registry.purge()
    assert await refusal(world, headers) == "NONCE_REPLAYED"
    world.clock.move(seconds=61)
    assert await world.registry.purge() == 1
    assert await refusal(world, headers) == "CLOCK_SKEW"
    world.clock.move(days=3)
    assert await world.registry.purge() == 1  # the session
    assert await world.books() | {"terminal_event": 0} == {
        "terminal_session": 0,
        "request_nonce": 0,
        "terminal_event": 0,
    }


async def test_the_nonce_table_is_unlogged_and_admission_flushes_no_log(world: TerminalWorld) -> None:
    persistence = await world.pool.fetchval("select relpersistence from pg_class where relname = 'request_nonce'")
    assert persistence == b"u"


async def test_without_a_database_nothing_is_admitted(world: TerminalWorld, signed_in: SignedIn) -> None:
    headers = signed_in.headers("POST", PATH, BODY)
    await world.pool.close()
    with pytest.raises(ServiceError) as caught:
        await ask(world, headers)
    assert (caught.value.code, caught.value.retry_after_ms) == ("NOT_READY", 1_000)

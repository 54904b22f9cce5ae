"""Sign-in (签到): only the enrolled key, on a fresh challenge of its own, under a certificate that holds."""

from __future__ import annotations

import datetime as dt

import pytest

from settlement.errors import ServiceError
from settlement.terminals.registry import SESSIONS_MAX
from terminal_sdk import wire
from terminal_sdk.crypto import CertificateAuthority, Sm2PrivateKey
from terminal_sdk.signing import sign_in_message
from tests.support.terminals import HOSPITAL, START, TerminalWorld


def challenge(world: TerminalWorld, terminal_id: str = "TILL0001") -> str:
    return world.registry.challenge(wire.ChallengeRequest(terminal_id=terminal_id)).challenge


async def refusal(world: TerminalWorld, request: wire.SignInRequest) -> str:
    with pytest.raises(ServiceError) as caught:
        await world.registry.sign_in(request)
    return caught.value.code


async def test_a_session_and_its_sealed_keys(world: TerminalWorld) -> None:
    till = await world.till()
    signed_in = await till.sign_in()
    session = signed_in.session
    assert session.institution_id == HOSPITAL
    assert session.expires_at == START + dt.timedelta(hours=24)
    assert session.server_time_ms == int(START.timestamp() * 1000)
    assert (len(signed_in.mac_key), len(signed_in.pin_key)) == (32, 16)
    who = await world.registry.authenticate("GET", "/x", signed_in.headers("GET", "/x"), b"")
    assert (who.mac_key, who.pin_key) == (signed_in.mac_key, signed_in.pin_key)
    assert signed_in.mac_key.hex() not in repr(who)


async def test_no_table_holds_a_working_key(world: TerminalWorld) -> None:
    signed_in = await (await world.till()).sign_in()
    rows = await world.pool.fetch("select s.*, t.* from terminal_session s join terminal t using (terminal_id)")
    text = str([dict(row) for row in rows])
    for key in (signed_in.mac_key, signed_in.pin_key):
        assert key.hex() not in text
        assert str(key)[2:-1] not in text


async def test_the_same_sign_in_twice_is_one_session(world: TerminalWorld) -> None:
    till = await world.till()
    request = till.sign_in_request(challenge(world))
    first, second = await world.registry.sign_in(request), await world.registry.sign_in(request)
    assert first.session_id == second.session_id
    assert first.sealed_keys != second.sealed_keys
    assert till.open(first).mac_key == till.open(second).mac_key
    assert (await world.books())["terminal_session"] == 1


async def test_sessions_differ_in_their_keys(world: TerminalWorld) -> None:
    till = await world.till()
    first, second = await till.sign_in(), await till.sign_in()
    assert first.session.session_id != second.session.session_id
    assert len({first.mac_key, second.mac_key}) == 2
    assert len({first.pin_key, second.pin_key}) == 2


async def test_challenges_that_do_not_hold(world: TerminalWorld) -> None:
    till = await world.till()
    fresh = challenge(world)
    flipped = ("B" if fresh[0] == "A" else "A") + fresh[1:]
    for bad in ("", "!", "é", fresh[:-4], fresh + "AAAA", fresh + "=", flipped, challenge(world, "TILL0002")):
        assert await refusal(world, till.sign_in_request(bad)) == "CHALLENGE_INVALID", bad
    request = till.sign_in_request(fresh)
    world.clock.move(seconds=60)
    assert await refusal(world, request) == "CHALLENGE_INVALID"


async def test_a_challenge_holds_in_every_process_of_the_service(world: TerminalWorld) -> None:
    till = await world.till()
    request = till.sign_in_request(challenge(world))
    session = await world.new_registry().sign_in(request)
    who = await world.registry.authenticate("GET", "/", till.open(session).headers("GET", "/"), b"")
    assert who.terminal_id == "TILL0001"


async def test_signatures_that_do_not_hold(world: TerminalWorld) -> None:
    till = await world.till()
    text = challenge(world)
    stranger = Sm2PrivateKey.generate().sign(sign_in_message("TILL0001", text)).hex()
    other_text = till.key.sign(sign_in_message("TILL0001", challenge(world))).hex()
    for signature in (stranger, other_text, "00" * 64, "ff" * 64):
        request = till.sign_in_request(text, signature=signature)
        assert await refusal(world, request) == "SIGNATURE_INVALID"
    assert (await world.books())["terminal_session"] == 0


async def test_a_terminal_cannot_sign_in_as_another(world: TerminalWorld) -> None:
    await world.till("TILL0001")
    thief = await world.till("TILL0002")
    request = thief.sign_in_request(challenge(world), terminal_id="TILL0001")
    assert await refusal(world, request) == "TERMINAL_CERTIFICATE_UNKNOWN"


async def test_terminals_that_are_not_enrolled(world: TerminalWorld) -> None:
    till = await world.till()
    await world.registry.register("TILL0002", HOSPITAL)
    for terminal_id in ("TILL0002", "TILL0009"):
        request = till.sign_in_request(challenge(world, terminal_id), terminal_id=terminal_id)
        assert await refusal(world, request) == "TERMINAL_UNKNOWN"


@pytest.mark.parametrize("seconds", [0, 1, 86_400])
async def test_an_expired_certificate(world: TerminalWorld, seconds: int) -> None:
    till = await world.till()
    world.clock.moment = till.certificate.not_after + dt.timedelta(seconds=seconds)
    assert await refusal(world, till.sign_in_request(challenge(world))) == "TERMINAL_CERTIFICATE_EXPIRED"


async def test_a_session_ends_with_the_certificate(world: TerminalWorld) -> None:
    till = await world.till()
    world.clock.moment = till.certificate.not_after - dt.timedelta(hours=1)
    assert (await till.sign_in()).session.expires_at == till.certificate.not_after


async def test_a_certificate_that_our_authority_did_not_issue(world: TerminalWorld) -> None:
    till = await world.till()
    forger = CertificateAuthority.create_root("Terminal CA", START, START + dt.timedelta(days=9))
    forged = forger.issue("TILL0001", till.key.public_key, START, START + dt.timedelta(days=9))
    await world.pool.execute(
        "update terminal set certificate_der = $1, certificate_fingerprint = $2", forged.der, forged.fingerprint
    )
    request = till.sign_in_request(challenge(world), fingerprint=forged.fingerprint)
    assert await refusal(world, request) == "TERMINAL_CERTIFICATE_UNKNOWN"


async def test_suspension_stops_sign_in(world: TerminalWorld) -> None:
    till = await world.till()
    await world.registry.suspend("TILL0001", "lost")
    assert await refusal(world, till.sign_in_request(challenge(world))) == "TERMINAL_SUSPENDED"
    await world.registry.resume("TILL0001")
    await world.registry.suspend_institution(HOSPITAL, "closed")
    assert await refusal(world, till.sign_in_request(challenge(world))) == "INSTITUTION_SUSPENDED"
    assert (await world.books())["terminal_session"] == 0


async def test_only_the_newest_sessions_are_kept(world: TerminalWorld) -> None:
    till = await world.till()
    sessions = []
    for _ in range(SESSIONS_MAX + 2):
        world.clock.move(seconds=1)
        sessions.append(await till.sign_in())
    assert (await world.books())["terminal_session"] <= SESSIONS_MAX + 1
    await world.registry.authenticate("GET", "/", sessions[-1].headers("GET", "/"), b"")
    with pytest.raises(ServiceError, match="SESSION_EXPIRED"):
        await world.registry.authenticate("GET", "/", sessions[0].headers("GET", "/"), b"")

"""Working keys, challenges and codes: derived alike everywhere, worth nothing without the key ring."""

from __future__ import annotations

import datetime as dt
import secrets
import uuid

from hypothesis import given
from hypothesis import strategies as st

from settlement.security import KeyRing
from settlement.terminals.derivation import TerminalSecrets

NOW = dt.datetime(2019, 1, 2, 1, 30, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(seconds=60)


def of_ring(byte: int) -> TerminalSecrets:
    return TerminalSecrets(KeyRing(bytes([byte]) * 32), secrets.token_bytes)


OURS, THEIRS = of_ring(1), of_ring(2)


def test_working_keys_follow_from_ring_and_session() -> None:
    session = uuid.UUID(int=1)
    keys = OURS.working_keys(session)
    assert (len(keys.mac_key), len(keys.pin_key)) == (32, 16)
    assert keys == of_ring(1).working_keys(session)
    assert keys.mac_key != OURS.working_keys(uuid.UUID(int=2)).mac_key
    assert keys.mac_key != THEIRS.working_keys(session).mac_key
    assert keys.pin_key not in keys.mac_key
    assert "keys" not in repr(keys).lower().replace("workingkeys", "")


def test_a_challenge_is_for_one_ring_terminal_and_time() -> None:
    challenge = OURS.make_challenge("TILL0001", LATER)
    assert OURS.check_challenge(challenge, "TILL0001", NOW)
    assert OURS.check_challenge(challenge, "TILL0001", LATER - dt.timedelta(milliseconds=1))
    assert not OURS.check_challenge(challenge, "TILL0001", LATER)
    assert not OURS.check_challenge(challenge, "TILL0002", NOW)
    assert not THEIRS.check_challenge(challenge, "TILL0001", NOW)
    assert challenge != OURS.make_challenge("TILL0001", LATER)


@given(st.integers(min_value=0), st.characters(codec="utf-8"))
def test_a_changed_challenge_does_not_hold(place: int, character: str) -> None:
    challenge = OURS.make_challenge("TILL0001", LATER)
    place %= len(challenge)
    changed = challenge[:place] + character + challenge[place + 1 :]
    assert OURS.check_challenge(changed, "TILL0001", NOW) == (changed == challenge)


@given(st.text())
def test_any_text_is_no_challenge(text: str) -> None:
    assert not OURS.check_challenge(text, "TILL0001", NOW)


def test_a_challenge_leads_to_one_session() -> None:
    challenge = OURS.make_challenge("TILL0001", LATER)
    session = OURS.session_id(challenge)
    assert session == OURS.session_id(challenge)
    assert session.version == 7
    assert session != OURS.session_id(OURS.make_challenge("TILL0001", LATER))


def test_codes_are_long_and_plain() -> None:
    codes = {OURS.new_enrolment_code() for _ in range(200)}
    assert len(codes) == 200
    for code in codes:
        assert [len(group) for group in code.split("-")] == [5, 5, 5, 5]
        assert not set(code) & set("ILOU")


def test_a_codes_digest_forgives_typing_and_nothing_else() -> None:
    digest = OURS.enrolment_digest("TILL0001", "7KQ2M-0X9TB-V4HNC-R8Z51")
    assert OURS.enrolment_digest("TILL0001", " 7kq2m ox9tb v4hnc r8z5l ") == digest
    assert OURS.enrolment_digest("TILL0001", "7KQ2M-0X9TB-V4HNC-R8Z52") != digest
    assert OURS.enrolment_digest("TILL0002", "7KQ2M-0X9TB-V4HNC-R8Z51") != digest
    assert THEIRS.enrolment_digest("TILL0001", "7KQ2M-0X9TB-V4HNC-R8Z51") != digest

"""Answers to reset: formed as the standards have them, and found in the directory."""

from __future__ import annotations

import functools
import operator

import pytest

from terminal_sdk.card import KNOWN_CARDS, KnownCard, UnknownAtr, VirtualCard
from terminal_sdk.card.atr import contact_atr, contactless_atr
from terminal_sdk.reader import Interface


def test_the_contact_atr_byte_for_byte(third: VirtualCard, legacy: VirtualCard) -> None:
    assert third.reset("contact") == bytes.fromhex("3B6D0000 0012156F555353433330059000")
    assert legacy.reset("contact") == bytes.fromhex("3B6D0000 0012156F555353433230059000")


def test_the_contactless_atr_is_the_one_pc_sc_readers_build(third: VirtualCard) -> None:
    atr = third.reset("contactless")

    assert atr is not None
    assert atr[:4] == bytes.fromhex("3B8D8001")
    assert functools.reduce(operator.xor, atr[1:]) == 0  # ISO 7816-3: TCK makes T0 to TCK xor to zero
    assert len(atr) == 4 + 13 + 1


def test_a_legacy_card_has_no_antenna(legacy: VirtualCard) -> None:
    assert legacy.reset("contactless") is None


def test_every_virtual_card_is_known(third: VirtualCard, legacy: VirtualCard) -> None:
    cards: list[tuple[VirtualCard, Interface]] = [(third, "contact"), (third, "contactless"), (legacy, "contact")]
    for card, interface in cards:
        atr = card.reset(interface)
        assert atr is not None
        assert KNOWN_CARDS.identify(atr).interface == interface


def test_an_unknown_atr_is_refused() -> None:
    for atr in (b"", b"\x3b", bytes.fromhex("3B6D00000012156F5553534333300590 01"), bytes(40)):
        with pytest.raises(UnknownAtr) as caught:
            KNOWN_CARDS.identify(atr)
        assert caught.value.atr == atr


def test_an_operator_adds_the_cards_of_a_region() -> None:
    directory = KNOWN_CARDS.with_cards(KnownCard("3B 6D 00 00 .. .. 86 60", "contact", "card of a region"))

    assert directory.identify(bytes.fromhex("3B6D0000AABB8660")).name == "card of a region"
    with pytest.raises(UnknownAtr):
        directory.identify(bytes.fromhex("3B6D0000AABB8661"))


@pytest.mark.parametrize("pattern", ["", "3", "3B6", "ZZ", "3B .", "3B.*"])
def test_a_pattern_of_another_form_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        KnownCard(pattern, "contact", "x")


def test_more_than_fifteen_historical_bytes_fit_no_atr() -> None:
    assert len(contact_atr(bytes(15))) == 19
    for build in (contact_atr, contactless_atr):
        with pytest.raises(ValueError, match="15"):
            build(bytes(16))

"""Fixtures: a PC/SC daemon with two virtual slots, cards that are laid into them, card images."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest

from terminal_sdk.card import CardImage, VirtualCard
from terminal_sdk.crypto import CertificateAuthority
from terminal_sdk.reader import Interface
from terminal_sdk.reader.virtual import Chip
from terminal_sdk.reader.vpcd import PluggedCard
from tests.pcsc import daemon as pcsc
from tests.pcsc.daemon import CABLE_READER, PATIENCE_S, TILL_READER, Daemon
from tests.support.tools import not_here

pcsc.use_own_socket()  # before any test of this session makes its first PC/SC call

PERSON: dict[str, Any] = {"social_security_number": "310101195003074512", "name": "张建国"}
DATES: dict[str, Any] = {"issued_on": dt.date(2018, 12, 20), "expires_on": dt.date(2028, 12, 19)}


class Plug(Protocol):
    """Lays a chip into a slot and waits until the daemon has seen it; the result takes it out again (also waiting)."""

    def __call__(self, chip: Chip, *, slot: int = 0, interface: Interface = "contact") -> Callable[[], None]: ...


def slot_name(slot: int) -> str:
    """What the daemon calls a slot; 2 is the reader with the cable."""
    return f"{CABLE_READER} 00 00" if slot == 2 else f"{TILL_READER} 00 0{slot}"


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The session's daemon, which tests may stop; ``pcscd`` has it running."""
    missing = pcsc.missing_packages()
    if missing:
        not_here(f"no PC/SC daemon with virtual slots: apt-get install {' '.join(missing)}")
    if pcsc.namespace() is None and os.geteuid() != 0:
        not_here("a PC/SC daemon of our own needs root, or a kernel that allows unshare --user --mount")
    daemon = Daemon(tmp_path_factory.mktemp("pcscd"))
    yield daemon
    daemon.close()


@pytest.fixture
def pcscd(daemon: Daemon) -> Daemon:
    """The daemon, running, with two slots: ``Till reader 00 00`` and ``Till reader 00 01``."""
    daemon.ensure(TILL_READER)
    for slot in (slot_name(0), slot_name(1)):
        pcsc.wait_until(functools.partial(pcsc.seen, slot, present=False), f"end of the card before in {slot}")
    return daemon


@pytest.fixture
def cable(daemon: Daemon) -> Iterator[Daemon]:
    """The daemon with one reader, ``Cable reader 00 00``, whose cable and contacts can fail."""
    daemon.ensure(CABLE_READER)
    yield daemon
    daemon.cable.touch()
    daemon.contacts.touch()


@pytest.fixture
def plug(daemon: Daemon) -> Iterator[Plug]:
    """Lay chips into slots by number (see ``slot_name``); at the end of the test all are taken out."""
    with contextlib.ExitStack() as taken_out:

        def lay(chip: Chip, *, slot: int = 0, interface: Interface = "contact") -> Callable[[], None]:
            reader = slot_name(slot)
            pcsc.wait_until(lambda: pcsc.seen(reader, present=False), f"end of the card before in {reader}")
            plugged = PluggedCard(chip, interface, port=daemon.port + slot)
            thread = threading.Thread(target=plugged.serve)
            thread.start()

            def take_out() -> None:
                plugged.stop()
                thread.join(PATIENCE_S)
                assert not thread.is_alive()

            taken_out.callback(take_out)
            pcsc.wait_until(lambda: pcsc.seen(reader, present=True), f"card in {reader}")

            def take_out_and_wait() -> None:
                take_out()
                pcsc.wait_until(lambda: pcsc.seen(reader, present=False), f"no card in {reader}")

            return take_out_and_wait

        yield lay


@pytest.fixture(scope="session")
def third_image() -> CardImage:
    begin = dt.datetime(2018, 1, 1, tzinfo=dt.UTC)
    authority = CertificateAuthority.create_root("Test card CA", begin, begin + dt.timedelta(days=9000))
    return CardImage.personalise(
        authority, card_number="A12345678", bank_code="ICBC", pan="6222020200112233445", **DATES, **PERSON
    )


@pytest.fixture(scope="session")
def legacy_image() -> CardImage:
    return CardImage.legacy(bytes(range(16)), card_number="B87654321", **DATES, **PERSON)


@pytest.fixture
def card(third_image: CardImage) -> VirtualCard:
    return VirtualCard(third_image)

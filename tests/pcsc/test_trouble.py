"""What goes wrong with cards, readers and the daemon has a type; once it is over, the same reader object works on."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from terminal_sdk.card import (
    KNOWN_CARDS,
    CardImage,
    CardSession,
    KnownCard,
    NotASocialSecurityCard,
    UnknownAtr,
    VirtualCard,
    read_card,
)
from terminal_sdk.reader import (
    AmbiguousReader,
    CardConnection,
    CardRemoved,
    ConnectionClosed,
    DaemonUnavailable,
    ExchangeFailed,
    NoCard,
    ReaderError,
    ReaderNotFound,
    ReaderUnplugged,
)
from terminal_sdk.reader.pcsc import PcscReader, list_readers
from tests.pcsc.chips import ForeignCard, SlowCard, torn_out
from tests.pcsc.conftest import Plug
from tests.pcsc.daemon import TILL_READER, Daemon, seen, wait_until
from tests.pcsc.presence import SELECT, SELECTED, SLOT_0, SLOT_1, works


def fails(error: type[ReaderError], connection: CardConnection) -> None:
    """Once over, a connection stays over; ending it is harmless, twice."""
    for _ in range(2):
        with pytest.raises(error):
            connection.transmit(SELECT)
    connection.disconnect()
    connection.disconnect()
    with pytest.raises(ConnectionClosed):
        connection.transmit(SELECT)


def test_readers_by_name(pcscd: Daemon, plug: Plug, card: VirtualCard) -> None:
    assert list_readers() == [SLOT_0, SLOT_1]
    plug(card, slot=1)
    for name in (SLOT_1, "00 01", "till READER 00 01"):
        reader = PcscReader(name)
        assert works(reader), name
        assert reader.name == SLOT_1
    with pytest.raises(NoCard):
        PcscReader("00 00").connect()
    with pytest.raises(ReaderNotFound, match="no reader is called 'Gemalto'; connected: Till reader 00 00; "):
        PcscReader("Gemalto").connect()
    with pytest.raises(AmbiguousReader, match="give more of the name") as caught:
        PcscReader("Till").connect()
    assert caught.value.candidates == (SLOT_0, SLOT_1)


def test_without_a_name_the_card_decides(pcscd: Daemon, plug: Plug, card: VirtualCard) -> None:
    reader = PcscReader()
    assert reader.name == "PC/SC reader"
    with pytest.raises(NoCard, match="no card lies in any of 2 readers"):
        reader.connect()
    plug(card, slot=1)
    assert works(reader)
    assert reader.name == SLOT_1
    take_out = plug(ForeignCard(), slot=0)
    with pytest.raises(AmbiguousReader, match="cards lie in") as caught:
        reader.connect()
    assert caught.value.candidates == (SLOT_0, SLOT_1)
    take_out()
    assert works(reader)


def test_two_slots_are_two_readers(pcscd: Daemon, plug: Plug, third_image: CardImage, legacy_image: CardImage) -> None:
    plug(VirtualCard(third_image), slot=0)
    plug(VirtualCard(legacy_image), slot=1)
    with CardSession(PcscReader(SLOT_0)) as first, CardSession(PcscReader(SLOT_1)) as second:
        assert (first.read().card_number, second.read().card_number) == ("A12345678", "B87654321")


def test_no_reader_at_all(daemon: Daemon, plug: Plug, card: VirtualCard) -> None:
    daemon.ensure()
    reader = PcscReader()
    assert list_readers() == []
    with pytest.raises(ReaderNotFound, match="no reader is connected"):
        reader.connect()
    daemon.ensure(TILL_READER)
    plug(card)
    assert works(reader)


def test_a_card_pulled_between_commands(pcscd: Daemon, plug: Plug, card: VirtualCard) -> None:
    reader = PcscReader(SLOT_0)
    take_out = plug(card)
    connection = reader.connect()
    assert connection.transmit(SELECT) == SELECTED
    take_out()
    fails(CardRemoved, connection)
    with pytest.raises(NoCard):
        reader.connect()
    plug(card)
    assert works(reader)


def test_a_card_torn_out_during_a_command(pcscd: Daemon, plug: Plug, card: VirtualCard) -> None:
    """The daemon reports a failed exchange, and notices only later why."""
    reader = PcscReader(SLOT_0)
    with torn_out(card, pcscd.port, instruction=0xC0, is_run=False):
        wait_until(lambda: seen(SLOT_0, present=True), "card")
        connection = reader.connect()
        assert connection.transmit(SELECT) == SELECTED
        with pytest.raises(CardRemoved, match="during a command"):
            connection.transmit(bytes.fromhex("00C000001D"))
        fails(CardRemoved, connection)
    with pytest.raises(NoCard):
        reader.connect()
    plug(card)
    assert works(reader)


def test_a_card_that_came_back_is_another_presence(pcscd: Daemon, plug: Plug, card: VirtualCard) -> None:
    reader = PcscReader(SLOT_0)
    take_out = plug(card)
    before = reader.connect()
    take_out()
    plug(card)
    after = reader.connect()  # though nobody ended the connection before
    assert after.transmit(SELECT) == SELECTED
    with pytest.raises(ConnectionClosed):
        before.transmit(SELECT)
    before.disconnect()
    assert after.transmit(SELECT) == SELECTED
    after.disconnect()


def test_a_foreign_card(pcscd: Daemon, plug: Plug, card: VirtualCard) -> None:
    reader = PcscReader(SLOT_0)
    take_out = plug(ForeignCard())
    for _ in range(2):
        with pytest.raises(UnknownAtr, match="3B 02 14 50"):
            read_card(reader)
    known = KNOWN_CARDS.with_cards(KnownCard("3B 02 14 50", "contact", "somebody's card"))
    with pytest.raises(NotASocialSecurityCard):
        read_card(reader, known_cards=known)
    take_out()
    plug(card)
    assert read_card(reader).card_number == "A12345678"


def test_a_mute_card(pcscd: Daemon, plug: Plug, card: VirtualCard) -> None:
    """Put in the wrong way round, a chip answers to reset with something that is no ATR."""
    reader = PcscReader(SLOT_0)
    take_out = plug(ForeignCard("00 00"))
    with pytest.raises(NoCard, match="does not answer to reset"):
        reader.connect()
    take_out()
    plug(card)
    assert works(reader)


def test_the_reader_is_unplugged(cable: Daemon, plug: Plug, card: VirtualCard) -> None:
    plug(card, slot=2)
    reader = PcscReader()
    connection = reader.connect()
    assert connection.transmit(SELECT) == SELECTED
    cable.cable.unlink()
    fails(ReaderUnplugged, connection)
    with pytest.raises(ReaderUnplugged):
        reader.connect()
    cable.cable.touch()
    wait_until(lambda: seen("Cable reader 00 00", present=True), "return of the reader")
    assert works(reader)


def test_bad_contacts_are_no_removed_card(cable: Daemon, plug: Plug, card: VirtualCard) -> None:
    plug(card, slot=2)
    reader = PcscReader()
    connection = reader.connect()
    cable.contacts.unlink()
    with pytest.raises(ExchangeFailed):
        connection.transmit(SELECT)
    cable.contacts.touch()
    fails(ExchangeFailed, connection)  # what the card did meanwhile is not known: this presence is over
    assert works(reader)


def stopped(daemon: Daemon) -> None:
    daemon.stop()


def killed(daemon: Daemon) -> None:
    daemon.stop(signal.SIGKILL)


def restarted(daemon: Daemon) -> None:
    daemon.stop()
    daemon.start(TILL_READER)


@pytest.mark.parametrize("happening", [stopped, killed, restarted])
def test_the_daemon_goes_and_comes(
    pcscd: Daemon, plug: Plug, card: VirtualCard, happening: Callable[[Daemon], None]
) -> None:
    plug(card)
    reader = PcscReader(SLOT_0)
    connection = reader.connect()
    assert connection.transmit(SELECT) == SELECTED
    happening(pcscd)
    fails(DaemonUnavailable, connection)
    if happening is not restarted:
        for call in (list_readers, reader.connect):
            with pytest.raises(DaemonUnavailable, match="start it"):
                call()
    pcscd.ensure(TILL_READER)
    wait_until(lambda: seen(SLOT_0, present=True), "the card plugging itself in again")
    assert works(reader)


def test_the_daemon_dies_during_a_command(pcscd: Daemon, plug: Plug, card: VirtualCard) -> None:
    slow = SlowCard(card)
    plug(slow)
    connection = PcscReader(SLOT_0).connect()
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(connection.transmit, SELECT)
        assert slow.asked.wait(20)
        pcscd.stop(signal.SIGKILL)
        with pytest.raises(DaemonUnavailable):
            answer.result()
        slow.let_go.set()
    fails(DaemonUnavailable, connection)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"install settlement-terminal-sdk\[pcsc\]"),
        ("raise ImportError('libpcsclite.so.1: cannot open shared object file')", "apt-get install libpcsclite1"),
    ],
)
def test_without_the_library(tmp_path: Path, content: str | None, message: str) -> None:
    """Everything else of the package can be imported and used; only real readers are refused, with what to install."""
    program = (
        "import sys\n"
        + ("sys.modules['smartcard'] = None\n" if content is None else f"sys.path.insert(0, {str(tmp_path)!r})\n")
        + "from terminal_sdk.reader import PcscNotInstalled\n"
        "from terminal_sdk.reader.pcsc import PcscReader, list_readers\n"
        "for call in (list_readers, PcscReader('x').connect):\n"
        "    try:\n"
        "        call()\n"
        "    except PcscNotInstalled as error:\n"
        "        print(error)\n"
    )
    if content is not None:
        (tmp_path / "smartcard.py").write_text(content, "utf-8")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert lines[0] == lines[1]
    assert re.search(message, lines[0]), lines[0]

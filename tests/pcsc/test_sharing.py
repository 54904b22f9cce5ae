"""Taking a card: for one program at a time, fresh, and by the protocol that suits the interface."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from terminal_sdk.card import VirtualCard
from terminal_sdk.reader import Interface, NoCard, ReaderBusy
from terminal_sdk.reader.pcsc import PcscReader
from tests.pcsc.chips import ForeignCard
from tests.pcsc.conftest import Plug
from tests.pcsc.daemon import Daemon
from tests.pcsc.presence import READ_NUMBER, SELECT, SELECT_EF06, SELECTED, SLOT_0, VERIFY, works


def test_one_connection_at_a_time(pcscd: Daemon, plug: Plug, card: VirtualCard) -> None:
    plug(card)
    reader = PcscReader(SLOT_0, busy_ms=0)
    connection = reader.connect()
    for other in (reader, PcscReader(SLOT_0, busy_ms=0)):
        with pytest.raises(ReaderBusy):
            other.connect()
    assert connection.transmit(SELECT) == SELECTED
    with pytest.raises(ValueError, match="four bytes"):
        connection.transmit(b"\x00")  # to the driver this would be: power off
    connection.disconnect()
    assert works(reader)


HOLD = """
import sys
from smartcard import scard as s
_, context = s.SCardEstablishContext(s.SCARD_SCOPE_USER)
code, handle, _ = s.SCardConnect(context, sys.argv[1], s.SCARD_SHARE_SHARED, s.SCARD_PROTOCOL_T0)
answers = [s.SCardTransmit(handle, s.SCARD_PCI_T0, list(bytes.fromhex(c)))[1] for c in sys.argv[2:]]
print(code, *[bytes(answer).hex() for answer in answers], flush=True)
sys.stdin.read()
s.SCardDisconnect(handle, s.SCARD_LEAVE_CARD)
"""


def other_program(*commands: str) -> tuple[subprocess.Popen[str], list[str]]:
    """A program that shares the card in slot 0 until its input is closed, and then leaves it as it is, powered.

    And what the card answered to its commands.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, SLOT_0, *commands], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    code, *answers = process.stdout.readline().split()
    assert code == "0"
    return process, answers


def test_another_program_holds_the_card(
    pcscd: Daemon, plug: Plug, card: VirtualCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug(card)
    other, _ = other_program()
    with other:
        with pytest.raises(ReaderBusy, match="another program uses the card"):
            PcscReader(SLOT_0, busy_ms=0).connect()
        # It lets go while we wait for it.
        monkeypatch.setattr("terminal_sdk.reader.pcsc.time.sleep", lambda _: other.communicate())
        assert works(PcscReader(SLOT_0, busy_ms=60_000))
        assert other.returncode == 0


def test_nothing_is_left_of_what_another_program_did(pcscd: Daemon, plug: Plug, card: VirtualCard) -> None:
    plug(card)
    other, answers = other_program(SELECT.hex(), VERIFY.hex(), SELECT_EF06.hex(), READ_NUMBER.hex())
    other.communicate()
    assert answers[-1].endswith("9000")
    connection = PcscReader(SLOT_0).connect()
    assert connection.transmit(READ_NUMBER).hex() == "6986"  # no file is selected
    connection.transmit(SELECT)
    connection.transmit(SELECT_EF06)
    assert connection.transmit(bytes.fromhex("00B2080002")).hex() == "08009000"  # and the PIN is not verified
    connection.disconnect()


def test_nothing_is_left_for_another_program(pcscd: Daemon, plug: Plug, card: VirtualCard) -> None:
    plug(card)
    connection = PcscReader(SLOT_0).connect()
    for command in (SELECT, VERIFY, SELECT_EF06, READ_NUMBER):
        assert connection.transmit(command)[-2:] in (SELECTED, b"\x90\x00")
    connection.disconnect()
    other, answers = other_program(READ_NUMBER.hex())
    other.communicate()
    assert answers == ["6986"]


BOTH_PROTOCOLS = "3B 90 11 80 01 00"
"""A contact card that offers T=0 and T=1; a daemon left to itself takes T=1."""
WRAPPED = "3B 80 80 01 01"


@pytest.mark.parametrize(
    ("atr", "said", "interface", "protocol"),
    [
        (BOTH_PROTOCOLS, None, "contact", "0"),
        (WRAPPED, None, "contactless", "1"),
        (WRAPPED, "contact", "contact", "0"),
        ("3B 80 01 81", None, "contact", "1"),  # a contact card that offers T=1 only
        ("3B 02 14 50", "contactless", "contactless", "0"),  # and one that offers T=0 only
    ],
)
def test_the_protocol(
    pcscd: Daemon, plug: Plug, atr: str, said: Interface | None, interface: str, protocol: str
) -> None:
    plug(ForeignCard(atr))
    connection = PcscReader(SLOT_0, interface=said).connect()
    assert (connection.interface, connection.atr) == (interface, bytes.fromhex(atr))
    assert connection.transmit(SELECT).hex() == "6a82"
    connection.disconnect()
    assert re.findall(r"Attempting PTS to T=(\d)", pcscd.log())[-1] == protocol


def test_failed_connects_leave_nothing_open(pcscd: Daemon, plug: Plug, card: VirtualCard) -> None:
    reader = PcscReader(SLOT_0)
    open_files = Path("/proc/self/fd")
    before = len(list(open_files.iterdir()))
    for _ in range(20):
        with pytest.raises(NoCard):
            reader.connect()
    assert len(list(open_files.iterdir())) == before

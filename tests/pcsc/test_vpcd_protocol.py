"""The card's end of the driver's protocol, against a driver played over loopback; needs no daemon."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from queue import Queue

import pytest

from terminal_sdk.card import CardImage, VirtualCard
from terminal_sdk.reader import DaemonUnavailable, NoCard
from terminal_sdk.reader.virtual import Chip
from terminal_sdk.reader.vpcd import PluggedCard
from tests.pcsc.presence import READ_NUMBER, SELECT, SELECT_EF06, VERIFY

OFF, ON, RESET, ATR = (bytes([signal]) for signal in (0, 1, 2, 4))
TIMEOUT_S = 20


class PlayedDriver:
    """A slot of the driver: accepts one card at a time."""

    def __init__(self, card: Chip) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(TIMEOUT_S)
        self.events: Queue[str] = Queue()
        self.trace: list[str] = []
        self.card = PluggedCard(card, port=self._server.getsockname()[1], tell=self.events.put, trace=self.trace.append)
        self._connection: socket.socket | None = None

    def accept(self) -> None:
        self._connection, _ = self._server.accept()
        self._connection.settimeout(TIMEOUT_S)

    def send(self, frame: bytes) -> None:
        assert self._connection is not None
        self._connection.sendall(len(frame).to_bytes(2, "big") + frame)

    def ask(self, frame: bytes) -> bytes:
        self.send(frame)
        assert self._connection is not None
        with self._connection.makefile("rb") as answers:
            return answers.read(int.from_bytes(answers.read(2), "big"))

    def drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def event(self) -> str:
        return self.events.get(timeout=TIMEOUT_S)

    def close(self) -> None:
        self.drop()
        self._server.close()


@contextlib.contextmanager
def served(driver: PlayedDriver) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=driver.card.serve)
    thread.start()
    try:
        yield thread
    finally:
        driver.card.stop()
        thread.join(TIMEOUT_S)
        driver.close()
        assert not thread.is_alive()


def test_signals_and_commands(third_image: CardImage) -> None:
    card = VirtualCard(third_image)
    driver = PlayedDriver(card)
    with served(driver):
        driver.accept()
        assert driver.ask(ATR).hex() == "3b6d00000012156f555353433330059000"
        assert driver.event() == "plugged"
        driver.send(ON)
        assert driver.ask(SELECT).hex() == "611d"
        assert driver.ask(VERIFY).hex() == "9000"
        assert driver.ask(SELECT_EF06).hex() == "9000"
        assert driver.ask(ATR).hex().startswith("3b6d")  # asked all the time; it must not disturb
        assert driver.ask(READ_NUMBER)[-2:].hex() == "9000"
        driver.send(RESET)
        assert driver.ask(READ_NUMBER).hex() == "6986"
        driver.send(OFF)
        assert driver.ask(SELECT).hex() == "611d"  # a driver that forgot to power up
        for odd in (b"\x03", b"\x05", b"\xff", b"\x00\xa4", b"\x00\xa4\x04"):
            assert driver.ask(odd).hex() == "6700"
    assert [driver.event() for _ in range(4)] == ["powered", "reset", "unpowered", "unplugged"]
    assert driver.trace[:6] == [
        "ATR 3B6D00000012156F555353433330059000",
        f"> {SELECT.hex().upper()}",
        "< 611D",
        "> 0020000003******",
        "< 9000",
        "> 00A4000002EF06",
    ]
    assert "< [20 bytes] 9000" in driver.trace
    assert "123456" not in "".join(driver.trace)


def test_a_frame_in_pieces(third_image: CardImage) -> None:
    driver = PlayedDriver(VirtualCard(third_image))
    with served(driver):
        driver.accept()
        frame = len(SELECT).to_bytes(2, "big") + SELECT
        assert driver._connection is not None
        for byte in frame[:-1]:
            driver._connection.sendall(bytes([byte]))
        driver._connection.sendall(frame[-1:])
        with driver._connection.makefile("rb") as answers:
            assert answers.read(4).hex() == "0002611d"


def test_it_plugs_in_again_whatever_ended_the_connection(third_image: CardImage) -> None:
    driver = PlayedDriver(VirtualCard(third_image))
    with served(driver):
        for ending in (lambda: None, lambda: driver.send(b"")):  # the other end went; it speaks another protocol
            driver.accept()
            driver.ask(ATR)
            assert driver.event() == "plugged"
            ending()
            driver.drop()
            assert driver.event() == "lost"
        driver.accept()
        driver.drop()  # before it ever spoke: nothing was plugged, nothing is lost
        driver.accept()
        driver.ask(ATR)
        assert driver.event() == "plugged"
    assert driver.event() == "unplugged"


def test_it_can_be_stopped_while_it_waits_for_a_daemon(third_image: CardImage) -> None:
    driver = PlayedDriver(VirtualCard(third_image))
    with served(driver) as thread:
        driver.accept()
        driver.ask(ATR)
        driver.close()
        assert [driver.event(), driver.event()] == ["plugged", "lost"]
        driver.card.stop()
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()
        assert driver.event() == "unplugged"
        driver.card.stop()  # harmless


def test_a_slot_that_is_taken_says_so(third_image: CardImage) -> None:
    driver = PlayedDriver(VirtualCard(third_image))
    with served(driver):
        assert driver.event() == "waiting"  # connected, but nobody asks for the answer to reset
        driver.accept()
        driver.ask(ATR)
        assert driver.event() == "plugged"


def test_an_answer_too_long_for_a_frame(third_image: CardImage) -> None:
    class Talkative(VirtualCard):
        def transmit(self, command: bytes) -> bytes:
            return bytes(0x10000)

    driver = PlayedDriver(Talkative(third_image))
    with served(driver):
        driver.accept()
        assert driver.ask(SELECT).hex() == "6700"


def test_refusals_at_the_start(third_image: CardImage, legacy_image: CardImage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(DaemonUnavailable, match=f"no virtual slot at 127.0.0.1:{port}: install pcscd"):
        PluggedCard(VirtualCard(third_image), port=port).serve()
    with pytest.raises(NoCard, match="contactless"):
        PluggedCard(VirtualCard(legacy_image), "contactless", port=port).serve()

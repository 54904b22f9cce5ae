"""Chips for tests: a card that signs with a nonce from its message, foreign cards, a card that takes its time."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import msgspec

from terminal_sdk.card import CardImage, CardState, MemoryState, VirtualCard
from terminal_sdk.crypto import Sm2PrivateKey, curve, sm3
from terminal_sdk.reader import Interface
from terminal_sdk.reader.virtual import Chip


class SeededKey(Sm2PrivateKey):
    """Signs like any SM2 key (GB/T 32918.2, 6.1), but takes the nonce from key and message: two runs are alike."""

    __slots__ = ()

    def sign(self, message: bytes, identity: bytes = b"1234567812345678") -> bytes:
        e = int.from_bytes(sm3(self.public_key.z_value(identity) + message), "big")
        d = int.from_bytes(self.to_bytes(), "big")
        k = 1 + int.from_bytes(sm3(self.to_bytes() + message), "big") % (curve.N - 1)
        r = (e + curve.base_multiply(k)[0]) % curve.N
        s = pow(1 + d, -1, curve.N) * (k - r * d) % curve.N
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class SeededImage(CardImage, frozen=True, kw_only=True):
    """A card image whose key is a ``SeededKey``."""

    def signing_key(self) -> Sm2PrivateKey:
        key = super().signing_key()
        return SeededKey(key.to_bytes(), key.public_key)


def seeded_card(image: CardImage, counter: int = 0) -> VirtualCard:
    """A card with this image and counter; two of them answer alike, byte for byte, signatures included."""
    seeded = msgspec.convert(msgspec.to_builtins(image), SeededImage)
    return VirtualCard(seeded, MemoryState(CardState(counter=counter)), random=bytes)


class ForeignCard:
    """A card of somebody else: another answer to reset, and no application that we know."""

    def __init__(self, atr: str = "3B 02 14 50") -> None:
        self._atr = bytes.fromhex(atr)

    def reset(self, interface: Interface) -> bytes:
        del interface
        return self._atr

    def transmit(self, command: bytes) -> bytes:
        return bytes.fromhex("6A82" if command[1] == 0xA4 else "6D00")


class SlowCard:
    """A card that thinks about a command until it is let go. ``asked``: it has begun to."""

    def __init__(self, card: Chip) -> None:
        self._card = card
        self.asked = threading.Event()
        self.let_go = threading.Event()

    def reset(self, interface: Interface) -> bytes | None:
        return self._card.reset(interface)

    def transmit(self, command: bytes) -> bytes:
        self.asked.set()
        self.let_go.wait(60)
        return self._card.transmit(command)


@contextlib.contextmanager
def torn_out(card: VirtualCard, port: int, instruction: int, *, is_run: bool) -> Iterator[None]:
    """The card in the slot at ``port`` (contacts), torn out at the first command with this instruction byte.

    ``is_run``: the card still carries it out, and only the answer is lost.
    """
    with socket.create_connection(("127.0.0.1", port)) as connection:
        thread = threading.Thread(target=_answer_until, args=(connection, card, instruction, is_run))
        thread.start()
        yield
    thread.join(20)
    assert not thread.is_alive()


def _answer_until(connection: socket.socket, card: VirtualCard, instruction: int, is_run: bool) -> None:
    atr = card.reset("contact")
    assert atr is not None
    with connection.makefile("rb") as frames, contextlib.suppress(OSError):
        while length := frames.read(2):
            frame = frames.read(int.from_bytes(length, "big"))
            if len(frame) == 1:
                if frame != b"\x04":
                    card.reset("contact")
                    continue
                answer = atr
            else:
                if frame[1] != instruction or is_run:
                    answer = card.transmit(frame)
                if frame[1] == instruction:
                    connection.shutdown(socket.SHUT_RDWR)
                    return
            connection.sendall(len(answer).to_bytes(2, "big") + answer)

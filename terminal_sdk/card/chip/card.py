"""The virtual card: takes any bytes, finds the application that answers a command, and always gives a response."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Protocol

from terminal_sdk.card import atr
from terminal_sdk.card.apdu import ApduInvalid, Command, Ins, Response, Status, is_extended
from terminal_sdk.card.chip.payment import PaymentApplication, ProximityDirectory
from terminal_sdk.card.chip.social import SocialApplication
from terminal_sdk.card.chip.transmission import Transmission
from terminal_sdk.card.image import CardImage
from terminal_sdk.card.state import CardState, MemoryState, StateStore
from terminal_sdk.reader import Interface

_CLASSES: dict[int, frozenset[int]] = {
    0x00: frozenset(Ins) - {Ins.GET_PROCESSING_OPTIONS, Ins.GENERATE_AC},
    0x80: frozenset({Ins.GET_PROCESSING_OPTIONS, Ins.GENERATE_AC}),
}
_BY_NAME = 0x04
_NO_FCI = 0x0C
_NAME_P2 = (0x00, _NO_FCI)
_MASTER_FILE = bytes.fromhex("3F00")
_CHALLENGE_SIZES = (4, 8, 16)
_CHALLENGE_DEFAULT = 8


class Application(Protocol):
    """One application on the card."""

    name: bytes

    def select(self) -> Response:
        """Become current."""
        ...

    def handle(self, command: Command) -> Response | None:
        """Answer a command, None if it is not known here."""
        ...


class VirtualCard:
    """A card made of an image and its durable state; speaks ISO 7816-4 and nothing else to the outside.

    ``state``: where counter and PIN tries live (in memory unless given). ``random``: source of GET CHALLENGE.
    Raises ``CardStateInvalid`` if the state cannot be read at the start; later failures of it are status 6581.
    """

    def __init__(
        self,
        image: CardImage,
        state: StateStore | None = None,
        *,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._third = image.kind == "third_generation"
        self._state = state or MemoryState()
        self._state.load()
        self._random = random
        self._social = SocialApplication(image, self._state)
        self._payment: list[Application] = [PaymentApplication(image)] if self._third else []
        self._directory: list[Application] = [ProximityDirectory(image)] if self._third else []
        self._power_up("contact")

    @property
    def state(self) -> CardState:
        """The durable state as it is now, for tests and demonstrations; no terminal can read it."""
        return self._state.load()

    def reset(self, interface: Interface) -> bytes | None:
        """Power up: everything but the durable state is forgotten. The ATR, or None: a legacy card has no antenna."""
        if not self._third and interface == "contactless":
            return None
        self._power_up(interface)
        historical = atr.HISTORICAL_THIRD if self._third else atr.HISTORICAL_LEGACY
        return atr.contact_atr(historical) if interface == "contact" else atr.contactless_atr(historical)

    def transmit(self, command: bytes) -> bytes:
        """Answer one command APDU, whatever its bytes are; the response ends in a status word."""
        return self._respond(command).encode()

    def _power_up(self, interface: Interface) -> None:
        self._interface: Interface = interface
        directory = self._directory if interface == "contactless" else []
        self._applications: Sequence[Application] = [self._social, *self._payment, *directory]
        self._current: Application | None = None
        self._transmission = Transmission(interface)

    def _respond(self, raw: bytes) -> Response:
        try:
            command = Command.parse(raw)
        except ApduInvalid:
            return Response(Status.WRONG_LENGTH)
        if self._interface == "contact" and is_extended(raw):
            return Response(Status.WRONG_LENGTH)
        if command.ins == Ins.GET_RESPONSE and command.cla == 0:
            return self._transmission.get_response(command)
        return self._transmission.deliver(command, self._execute(command))

    def _execute(self, command: Command) -> Response:
        known = _CLASSES.get(command.cla)
        if known is None:
            return Response(Status.WRONG_CLA)
        if command.ins not in known:
            elsewhere = any(command.ins in instructions for instructions in _CLASSES.values())
            return Response(Status.WRONG_CLA if elsewhere else Status.WRONG_INS)
        if command.ins == Ins.GET_CHALLENGE:
            return self._challenge(command)
        if command.ins == Ins.SELECT and command.p1 == _BY_NAME:
            return self._select_by_name(command)
        if command.ins == Ins.SELECT and command.p1 == 0 and command.data in (b"", _MASTER_FILE):
            return self._select_master_file(command)
        answer = self._current.handle(command) if self._current else None
        return answer if answer is not None else self._not_here(command)

    def _not_here(self, command: Command) -> Response:
        """A command that the current application does not know, or that came before any was selected."""
        if command.ins == Ins.SELECT:
            return Response(Status.WRONG_P1P2 if command.p1 not in (0x00, 0x02) else Status.FILE_NOT_FOUND)
        if self._current is not None:
            return Response(Status.WRONG_INS)
        if command.ins in (Ins.READ_RECORD, Ins.READ_BINARY):
            return Response(Status.NO_CURRENT_EF)
        return Response(Status.CONDITIONS_NOT_SATISFIED)

    def _select_by_name(self, command: Command) -> Response:
        if command.p2 not in _NAME_P2:
            return Response(Status.WRONG_P1P2)
        if not command.data:
            return Response(Status.WRONG_LENGTH)
        # The whole name is asked for: these cards do not select by a partial one.
        found = next((entry for entry in self._applications if entry.name == command.data), None)
        if found is None:
            return Response(Status.FILE_NOT_FOUND)
        self._current = found
        answer = found.select()
        return Response(answer.status) if command.p2 == _NO_FCI else answer

    def _select_master_file(self, command: Command) -> Response:
        if command.p2 not in _NAME_P2:
            return Response(Status.WRONG_P1P2)
        self._current = None
        return Response(Status.OK)

    def _challenge(self, command: Command) -> Response:
        if command.p1p2:
            return Response(Status.WRONG_P1P2)
        if command.data or command.le is None:
            return Response(Status.WRONG_LENGTH)
        size = command.le if command.le in _CHALLENGE_SIZES else _CHALLENGE_DEFAULT
        return Response(Status.OK, self._random(size))

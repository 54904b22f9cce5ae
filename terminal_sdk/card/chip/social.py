"""The social security application of a virtual card: files, PIN, and the signature that proves the card is present."""

from __future__ import annotations

import functools
import hmac
from collections.abc import Callable, Sequence

from terminal_sdk.card import bank, layout, tlv
from terminal_sdk.card.apdu import Command, Ins, Response, Status
from terminal_sdk.card.chip.files import File, FileSystem, RecordFile, TransparentFile
from terminal_sdk.card.errors import CardStateInvalid
from terminal_sdk.card.image import CardImage
from terminal_sdk.card.state import COUNTER_MAX, PIN_TRIES, CardState, StateStore
from terminal_sdk.crypto import Sm2PrivateKey
from terminal_sdk.signing import card_signed_message

PIN_BYTES = 3
_FILE_ID_BYTES = 2
_SELECT_EF = (0x00, 0x02)
_NO_FCI = 0x0C
_PIN_REFERENCES = (0x00, 0x81)


class SocialApplication:
    """One card's social security application, from selection to deselection; counter and tries live in ``state``."""

    name = layout.SOCIAL_AID

    def __init__(self, image: CardImage, state: StateStore) -> None:
        self._image = image
        self._state = state
        self._key: Sm2PrivateKey | None = image.signing_key() if image.kind == "third_generation" else None
        self._files = FileSystem(_files(image))
        self._verified = False

    def select(self) -> Response:
        """Selection by name: no file is current, the PIN is not verified."""
        self._files.reset()
        self._verified = False
        return Response(Status.OK, bank.fci(self.name, "SSC"))

    def handle(self, command: Command) -> Response | None:
        """Answer a command of class 00, None if this application does not know it."""
        handlers: dict[int, Callable[[Command], Response]] = {
            Ins.SELECT: self._select_file,
            Ins.READ_RECORD: lambda c: self._files.read_record(c, unlocked=self._verified),
            Ins.READ_BINARY: self._files.read_binary,
            Ins.VERIFY: self._verify,
            Ins.UPDATE_RECORD: _write_refused,
            Ins.UPDATE_BINARY: _write_refused,
        }
        if self._key is not None:
            handlers[Ins.INTERNAL_AUTHENTICATE] = functools.partial(self._authenticate, self._key)
        handler = handlers.get(command.ins)
        return handler(command) if handler and command.cla == 0 else None

    def _select_file(self, command: Command) -> Response:
        if command.p1 not in _SELECT_EF or command.p2 not in (0, _NO_FCI):
            return Response(Status.WRONG_P1P2)
        if len(command.data) != _FILE_ID_BYTES:
            return Response(Status.WRONG_LENGTH)
        return self._files.select(command.data)

    def _verify(self, command: Command) -> Response:
        if command.p1 or command.p2 not in _PIN_REFERENCES:
            return Response(Status.WRONG_P1P2)
        if not command.data:
            return self._tries_left()
        if len(command.data) != PIN_BYTES or command.le is not None:
            return Response(Status.WRONG_LENGTH)
        status = self._compare(command.data)
        self._verified = status == Status.OK
        return Response(status)

    def _compare(self, pin: bytes) -> int:
        """The status word of a presented PIN."""
        try:
            # The try is used up on disk before the PIN is compared: tearing the card out never saves one.
            after = self._state.update(_use_try)
            if not hmac.compare_digest(pin, bytes.fromhex(self._image.pin)):
                return Status.TRIES_LEFT | after.pin_tries
            self._state.update(_restore_tries)
        except _Blocked:
            return Status.PIN_BLOCKED
        except CardStateInvalid:
            return Status.MEMORY_FAILURE
        return Status.OK

    def _tries_left(self) -> Response:
        if self._verified:
            return Response(Status.OK)
        try:
            tries = self._state.load().pin_tries
        except CardStateInvalid:
            return Response(Status.MEMORY_FAILURE)
        return Response(Status.TRIES_LEFT | tries if tries else Status.PIN_BLOCKED)

    def _authenticate(self, key: Sm2PrivateKey, command: Command) -> Response:
        if command.p1p2:
            return Response(Status.WRONG_P1P2)
        if len(command.data) != layout.CHALLENGE_BYTES:
            return Response(Status.WRONG_LENGTH)
        try:
            # The new counter is durable before its signature exists: no counter is ever signed with twice.
            counter = self._state.update(_raise_counter).counter
        except _CounterUsedUp:
            return Response(Status.CONDITIONS_NOT_SATISFIED)
        except CardStateInvalid:
            return Response(Status.MEMORY_FAILURE)
        message = card_signed_message(self._image.card_number, counter, command.data)
        return Response(Status.OK, counter.to_bytes(4, "big") + key.sign(message))


class _Blocked(Exception):
    """No try is left; a signal inside this module."""


class _CounterUsedUp(Exception):
    """The counter stands at its end; a signal inside this module."""


def _use_try(state: CardState) -> CardState:
    if state.pin_tries == 0:
        raise _Blocked
    return CardState(counter=state.counter, pin_tries=state.pin_tries - 1)


def _restore_tries(state: CardState) -> CardState:
    return CardState(counter=state.counter, pin_tries=PIN_TRIES)


def _raise_counter(state: CardState) -> CardState:
    if state.counter >= COUNTER_MAX:
        raise _CounterUsedUp
    return CardState(counter=state.counter + 1, pin_tries=state.pin_tries)


def _write_refused(_: Command) -> Response:
    # Files are written under the issuer's key, which no terminal has.
    return Response(Status.SECURITY_NOT_SATISFIED)


def _files(image: CardImage) -> Sequence[File]:
    holder = image.holder_file.records()
    closed = [tlv.encode(record[0], b"") for record in holder]
    third = image.kind == "third_generation"
    common: list[File] = [
        RecordFile(layout.EF_PUBLIC, layout.EF_PUBLIC & 0x1F, image.public_file.records()),
        RecordFile(layout.EF_HOLDER, layout.EF_HOLDER & 0x1F, holder, closed if third else None),
    ]
    if third:
        return [*common, TransparentFile(layout.EF_CERTIFICATE, layout.EF_CERTIFICATE & 0x1F, image.certificate().der)]
    check_value = bytes.fromhex(image.check_value or "")
    return [*common, TransparentFile(layout.EF_CHECK_VALUE, layout.EF_CHECK_VALUE & 0x1F, check_value)]

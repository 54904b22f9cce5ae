"""The terminal's end of the exchange: fetches waiting data (61xx), repeats with the right Le (6Cxx), bounds both."""

from __future__ import annotations

import dataclasses

from terminal_sdk.card.apdu import SHORT_LE_MAX, ApduInvalid, Command, Ins, Response, Status
from terminal_sdk.card.errors import MalformedCardData
from terminal_sdk.reader import CardConnection

MAX_ROUNDS = 32
"""How often one command is answered with 61xx or 6Cxx before the card counts as broken."""

_SW1 = 0xFF00


class Channel:
    """Whole commands over a connection, whichever transmission protocol lies beneath."""

    def __init__(self, connection: CardConnection) -> None:
        self._connection = connection

    @property
    def interface(self) -> str:
        """How the card is reached."""
        return self._connection.interface

    def send(self, command: Command) -> Response:
        """Exchange one command; the final status word, and all data.

        Raises ``MalformedCardData`` if the card's answers are no responses or never end; ``ReaderError``.
        """
        response = self._exchange(self._fitted(command))
        data = response.data
        for _ in range(MAX_ROUNDS):
            kind, count = response.status & _SW1, response.status & 0xFF or SHORT_LE_MAX
            if kind == Status.WRONG_LE:
                command = dataclasses.replace(command, le=count)
                response = self._exchange(command)
            elif kind == Status.BYTES_AVAILABLE:
                command = Command(0x00, Ins.GET_RESPONSE, 0x00, 0x00, le=count)
                response = self._exchange(command)
            else:
                return Response(response.status, data)
            data += response.data
        raise MalformedCardData("response", "the card never comes to an end")

    def _fitted(self, command: Command) -> Command:
        """With data and an answer expected: T=0 has no room for Le, ISO 14443-4 asks for it."""
        if not command.data or command.le is None:
            return command
        return dataclasses.replace(command, le=None if self._connection.interface == "contact" else SHORT_LE_MAX)

    def _exchange(self, command: Command) -> Response:
        try:
            return Response.parse(self._connection.transmit(command.encode()))
        except ApduInvalid as error:
            raise MalformedCardData("response", str(error)) from error

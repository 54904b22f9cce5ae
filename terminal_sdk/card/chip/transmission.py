"""How a response leaves the card: by T=0 on the contacts (ISO 7816-3 12.2), by ISO 14443-4 in the field."""

from __future__ import annotations

from terminal_sdk.card.apdu import SHORT_LE_MAX, Command, Response, Status
from terminal_sdk.reader import Interface


class Transmission:
    """Fits an application's answer to the Le of the command, and keeps what waits for GET RESPONSE.

    Contacts (T=0): an answer to a command with data is fetched by GET RESPONSE (61xx); one without is given only for
    the exact length, otherwise the card names it (6Cxx). Contactless: data come at once; a short answer to a longer
    Le ends in 6282 where the application says so.
    """

    def __init__(self, interface: Interface) -> None:
        self._interface = interface
        self._waiting = b""
        self._waiting_status: int = Status.OK

    def deliver(self, command: Command, answer: Response) -> Response:
        """The response to ``command`` as this interface sends it."""
        self._waiting = b""
        if not answer.data:
            return answer
        exact = self._interface == "contact"
        if command.le is None or (command.data and exact):
            return self._hold(answer)
        if command.le < len(answer.data):
            return self._hold(answer) if command.data else _name_length(answer.data)
        if exact and command.le != len(answer.data):
            return _name_length(answer.data)
        return answer

    def get_response(self, command: Command) -> Response:
        """GET RESPONSE (00C0): the waiting data, or as much of them as Le asks for; then 61xx for the rest."""
        if command.p1p2:
            return Response(Status.WRONG_P1P2)
        if command.data or command.le is None:
            return Response(Status.WRONG_LENGTH)
        if not self._waiting:
            return Response(Status.CONDITIONS_NOT_SATISFIED)
        if command.le > len(self._waiting) and self._interface == "contact":
            return _name_length(self._waiting)
        part, self._waiting = self._waiting[: command.le], self._waiting[command.le :]
        return Response(_available(self._waiting) if self._waiting else self._waiting_status, part)

    def _hold(self, answer: Response) -> Response:
        self._waiting = answer.data
        self._waiting_status = answer.status
        return Response(_available(answer.data))


def _available(data: bytes) -> int:
    return Status.BYTES_AVAILABLE | min(len(data), SHORT_LE_MAX) & 0xFF


def _name_length(data: bytes) -> Response:
    # Only answers of up to 256 bytes come here: a longer one is cut to Le by its command first.
    return Response(Status.WRONG_LE | min(len(data), SHORT_LE_MAX) & 0xFF)

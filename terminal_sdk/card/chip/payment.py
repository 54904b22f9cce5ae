"""The bank application of a virtual card, and the directory of it in the contactless field (EMV book 1 and 3)."""

from __future__ import annotations

from terminal_sdk.card import bank
from terminal_sdk.card.apdu import Command, Ins, Response, Status
from terminal_sdk.card.chip.files import FileSystem, RecordFile
from terminal_sdk.card.image import CardImage

_CLA_ISO = 0x00
_CLA_EMV = 0x80


class PaymentApplication:
    """UnionPay debit: account number and expiry for a debit that the bank approves online; no offline cryptogram."""

    name = bank.BANK_AID

    def __init__(self, image: CardImage) -> None:
        if image.pan is None or image.bank_code is None:
            raise ValueError("this card has no bank application")
        self._label = label_of(image.bank_code)
        self._records = bank.records(image.pan, image.expires_on)
        self._files = FileSystem([RecordFile(0x0001, bank.RECORD_FILE_SFI, self._records)])
        self._started = False

    def select(self) -> Response:
        """Selection by name; a transaction must be started anew."""
        self._files.reset()
        self._started = False
        return Response(Status.OK, bank.fci(self.name, self._label))

    def handle(self, command: Command) -> Response | None:
        """Answer a command, None if this application does not know it."""
        if (command.cla, command.ins) == (_CLA_EMV, Ins.GET_PROCESSING_OPTIONS):
            return self._start(command)
        if (command.cla, command.ins) == (_CLA_EMV, Ins.GENERATE_AC):
            return Response(Status.CONDITIONS_NOT_SATISFIED)
        if (command.cla, command.ins) == (_CLA_ISO, Ins.READ_RECORD):
            if not self._started:
                return Response(Status.CONDITIONS_NOT_SATISFIED)
            return self._files.read_record(command, unlocked=True)
        return None

    def _start(self, command: Command) -> Response:
        if command.p1p2:
            return Response(Status.WRONG_P1P2)
        if not command.data:
            return Response(Status.WRONG_LENGTH)
        if command.data != bank.EMPTY_COMMAND_DATA:
            return Response(Status.WRONG_DATA)
        if self._started:
            return Response(Status.CONDITIONS_NOT_SATISFIED)
        self._started = True
        return Response(Status.OK, bank.processing_options(len(self._records)))


class ProximityDirectory:
    """The PPSE: only its selection means anything."""

    name = bank.PPSE_NAME

    def __init__(self, image: CardImage) -> None:
        self._label = label_of(image.bank_code or "")

    def select(self) -> Response:
        """The list of payment applications."""
        return Response(Status.OK, bank.ppse_fci(self._label))

    def handle(self, command: Command) -> Response | None:
        """No command has a meaning here."""
        del command
        return None


def label_of(bank_code: str) -> str:
    """How the application shows itself (tag 50, at most 16 characters)."""
    return f"{bank_code} DEBIT"

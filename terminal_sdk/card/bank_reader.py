"""Reading the bank application from the terminal's side: find it, start it, read its records."""

from __future__ import annotations

from terminal_sdk.card import bank
from terminal_sdk.card.apdu import Command, Ins, Response, Status
from terminal_sdk.card.channel import Channel
from terminal_sdk.card.errors import UnexpectedStatus

_BY_NAME = 0x04
_BY_NUMBER = 0x04
_ALL = 0x100
_CLA_EMV = 0x80


def read_bank_application(channel: Channel) -> bank.BankApplication | None:
    """The bank application, None if the card has none. Leaves it selected.

    In the contactless field the card's own directory (PPSE) is asked first, on the contacts the application is
    selected outright. Raises ``MalformedCardData``, ``UnexpectedStatus``.
    """
    aid: bytes | None = bank.BANK_AID
    if channel.interface == "contactless":
        aid = _find_in_directory(channel)
    if aid is None:
        return None
    answer = _select(channel, aid, "the bank application")
    if answer is None:
        return None
    label = bank.parse_label(answer, aid)
    options = channel.send(Command(_CLA_EMV, Ins.GET_PROCESSING_OPTIONS, 0x00, 0x00, bank.EMPTY_COMMAND_DATA, le=_ALL))
    record_list = bank.parse_record_list(_data(options, "GET PROCESSING OPTIONS"))
    records = [_read_record(channel, sfi, number) for sfi, number in record_list]
    return bank.parse_records(records, label)


def _find_in_directory(channel: Channel) -> bytes | None:
    answer = _select(channel, bank.PPSE_NAME, "the PPSE")
    if answer is None:
        return None
    return next((aid for aid in bank.parse_ppse(answer) if aid.startswith(bank.BANK_AID)), None)


def _select(channel: Channel, name: bytes, what: str) -> bytes | None:
    response = channel.send(Command(0x00, Ins.SELECT, _BY_NAME, 0x00, name, le=_ALL))
    if response.status == Status.FILE_NOT_FOUND:
        return None
    return _data(response, f"SELECT of {what}")


def _read_record(channel: Channel, sfi: int, number: int) -> bytes:
    response = channel.send(Command(0x00, Ins.READ_RECORD, number, sfi << 3 | _BY_NUMBER, le=_ALL))
    return _data(response, "READ RECORD of the bank application")


def _data(response: Response, doing: str) -> bytes:
    if not response.ok:
        raise UnexpectedStatus(doing, response.status)
    return response.data

"""Elementary files of a virtual card, and the two reading commands over them (ISO 7816-4 7.2 and 7.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from terminal_sdk.card.apdu import EXTENDED_LE_MAX, SHORT_LE_MAX, Command, Response, Status

_SFI_IN_P1 = 0x80
_SFI_MASK = 0x1F
_P1_RESERVED = 0x60
_BY_IDENTIFIER = 0b000
_BY_NUMBER = 0b100
_REFERENCE_MASK = 0b111
_DEFAULT_LE = SHORT_LE_MAX
_ALL_THERE_IS = (SHORT_LE_MAX, EXTENDED_LE_MAX)  # what Le 00 and Le 0000 mean


@dataclass(frozen=True, slots=True)
class TransparentFile:
    """A string of bytes, read by offset (READ BINARY)."""

    file_id: int
    sfi: int
    content: bytes


@dataclass(frozen=True, slots=True)
class RecordFile:
    """Records of variable length, read by number or by identifier, which is a record's first byte (READ RECORD).

    ``closed``: the same records as they look before the PIN is verified, or None if there is no such lock.
    """

    file_id: int
    sfi: int
    records: Sequence[bytes]
    closed: Sequence[bytes] | None = None

    def visible(self, *, unlocked: bool) -> Sequence[bytes]:
        """The records as they may be read now."""
        return self.records if unlocked or self.closed is None else self.closed


File = TransparentFile | RecordFile


class FileSystem:
    """The files of one application and which of them is current."""

    def __init__(self, files: Sequence[File]) -> None:
        self._files = files
        self._current: File | None = None

    def reset(self) -> None:
        """No file is current, as after the application was selected."""
        self._current = None

    def select(self, file_id: bytes) -> Response:
        """SELECT by two-byte identifier. No file control information is given, as on the cards in the field."""
        found = next((file for file in self._files if file.file_id.to_bytes(2, "big") == file_id), None)
        if found is None:
            return Response(Status.FILE_NOT_FOUND)
        self._current = found
        return Response(Status.OK)

    def read_record(self, command: Command, *, unlocked: bool) -> Response:
        """READ RECORD: P1 number (P2 low bits 100) or identifier (000); P2 high bits a short file identifier or 0.

        The whole record is returned; the transmission layer compares its length with Le.
        """
        by = command.p2 & _REFERENCE_MASK
        if by not in (_BY_IDENTIFIER, _BY_NUMBER):
            return Response(Status.WRONG_P1P2)
        if command.data:
            return Response(Status.WRONG_LENGTH)
        file = self._file(command.p2 >> 3)
        if not isinstance(file, RecordFile):
            return file if isinstance(file, Response) else Response(Status.WRONG_FILE_STRUCTURE)
        records = file.visible(unlocked=unlocked)
        if by == _BY_NUMBER:
            found = records[command.p1 - 1] if 1 <= command.p1 <= len(records) else None
        else:
            found = next((record for record in records if record[0] == command.p1), None)
        if found is None:
            return Response(Status.RECORD_NOT_FOUND)
        wanted = command.le or _DEFAULT_LE
        return _found(found, wanted)

    def read_binary(self, command: Command) -> Response:
        """READ BINARY: P1-P2 an offset of 15 bits, or P1 a short file identifier (100xxxxx) and P2 the offset."""
        if command.data:
            return Response(Status.WRONG_LENGTH)
        if command.p1 & _SFI_IN_P1:
            sfi, offset = command.p1 & _SFI_MASK, command.p2
            if command.p1 & _P1_RESERVED or not sfi:
                return Response(Status.WRONG_P1P2)
        else:
            sfi, offset = 0, command.p1p2
        file = self._file(sfi)
        if not isinstance(file, TransparentFile):
            return file if isinstance(file, Response) else Response(Status.WRONG_FILE_STRUCTURE)
        if offset >= len(file.content):
            return Response(Status.WRONG_OFFSET)
        wanted = command.le or _DEFAULT_LE
        found = file.content[offset : offset + wanted]
        return _found(found, wanted)

    def _file(self, sfi: int) -> File | Response:
        """The current file, or the one with this short identifier, which becomes current."""
        if sfi:
            found = next((file for file in self._files if file.sfi == sfi), None)
            if found is None:
                return Response(Status.FILE_NOT_FOUND)
            self._current = found
        return self._current or Response(Status.NO_CURRENT_EF)


def _found(found: bytes, wanted: int) -> Response:
    short = len(found) < wanted and wanted not in _ALL_THERE_IS
    return Response(Status.END_OF_FILE if short else Status.OK, found)

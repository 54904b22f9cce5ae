"""Naming an earlier message: fields 90 and 61, and field 62, in which a bank says what became of it."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping
from dataclasses import dataclass

from settlement.banks.iso.codec import MessageError
from settlement.banks.iso.spec import Mti

_INSTITUTION_DIGITS = 11
_REFERENCE = 12
_STATUS_LAYOUT = 2 + 1 + 6 + 8


@dataclass(frozen=True, slots=True)
class Original:
    """The identity of an earlier debit, as far as it travels: the bank itself is the link."""

    terminal_id: str
    transmitted: str
    trace: str
    reference: str

    def fields(self, acquirer: str) -> dict[str, str]:
        """Fields 90 and 61 that name this message."""
        elements = Mti.FINANCIAL + self.trace + self.transmitted + acquirer.zfill(_INSTITUTION_DIGITS)
        return {"90": elements + "0" * _INSTITUTION_DIGITS, "61": self.reference + self.terminal_id}


def read_original(fields: Mapping[str, str]) -> Original:
    """Whom fields 90 and 61 name. Raises ``MessageError`` when one is missing or names no debit."""
    elements, private = fields.get("90", ""), fields.get("61", "")
    if not elements or not private:
        raise MessageError("fields 90 and 61 must name the original")
    if not elements.startswith(Mti.FINANCIAL):
        raise MessageError("field 90 does not name a debit")
    return Original(
        terminal_id=private[_REFERENCE:],
        transmitted=elements[10:20],
        trace=elements[4:10],
        reference=private[:_REFERENCE],
    )


class DebitStatus(enum.StrEnum):
    """What a debit is now, in the bank's books (third character of field 62)."""

    LIVE = "L"
    DECLINED = "D"
    VOIDED = "V"
    REVERSED = "R"
    REFUNDED = "F"
    PARTLY_REFUNDED = "P"


@dataclass(frozen=True, slots=True)
class OriginalStatus:
    """The answer to an inquiry: the code the debit was answered with, and what it is now."""

    response_code: str
    status: DebitStatus
    authorisation: str | None
    settlement_date: dt.date

    def field_62(self) -> str:
        """Response code (2), status (1), authorisation (6, blanks if none), settlement date (yyyyMMdd)."""
        return f"{self.response_code}{self.status}{self.authorisation or '':<6}{self.settlement_date:%Y%m%d}"


def read_status(text: str) -> OriginalStatus:
    """Read field 62. Raises ``MessageError``."""
    if len(text) != _STATUS_LAYOUT:
        raise MessageError("field 62 has the wrong length")
    try:
        return OriginalStatus(
            response_code=text[:2],
            status=DebitStatus(text[2]),
            authorisation=text[3:9].strip() or None,
            settlement_date=dt.datetime.strptime(text[9:], "%Y%m%d").replace(tzinfo=dt.UTC).date(),
        )
    except ValueError:
        raise MessageError("field 62 is malformed") from None

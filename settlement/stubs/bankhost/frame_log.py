"""The log of every frame a bank received or sent: type and identity in full, account numbers masked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Literal

from settlement.stubs.bankhost.store import Store

_SHOWN_FIRST, _SHOWN_LAST = 6, 4


def mask_pan(pan: str) -> str:
    """First six and last four digits, as on a receipt."""
    hidden = len(pan) - _SHOWN_FIRST - _SHOWN_LAST
    return pan[:_SHOWN_FIRST] + "*" * hidden + pan[-_SHOWN_LAST:] if hidden > 0 else "*" * len(pan)


def log_frame(
    store: Store, direction: Literal["received", "sent"], fields: Mapping[str, str], now: dt.datetime, note: str = ""
) -> None:
    """Record one frame."""
    store.connection.execute(
        """INSERT INTO frame_log (recorded_at, direction, mti, processing_code, network_code, terminal_id, transmitted,
               trace, reference, pan, amount_fen, response_code, note)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (
            now.isoformat(),
            direction,
            fields.get("t", ""),
            fields.get("3", ""),
            fields.get("70", ""),
            fields.get("41", ""),
            fields.get("7", ""),
            fields.get("11", ""),
            fields.get("37", ""),
            mask_pan(fields.get("2", "")),
            int(fields["4"]) if "4" in fields else None,
            fields.get("39", ""),
            note,
        ),
    )

"""A journal entry as it is shown: what it was for, how it stands; no card number, PIN block or proof."""

from __future__ import annotations

from typing import Any

import msgspec

from terminal_sdk import wire
from terminal_sdk.cli.masking import mask_number
from terminal_sdk.journal import JournalEntry


class _Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a stored request may say of its bill; other fields are not looked at."""

    visit_no: str | None = None
    visit_type: str | None = None
    service_date: str | None = None
    total_fen: int | None = None
    lines: list[wire.FeeLine] = []
    card: wire.CardRef | None = None
    bank_ceiling_fen: int | None = None
    on_bank_decline: str | None = None
    remainder: str | None = None
    reason: str | None = None
    original_idempotency_key: str | None = None


def entry_view(entry: JournalEntry, *, whole: bool) -> dict[str, Any]:
    """The entry for programs. ``whole``: with the bill and the answer; amounts are fen; None where it is unreadable."""
    said = _said(entry)
    view: dict[str, Any] = {
        "idempotency_key": entry.idempotency_key,
        "operation": entry.operation,
        "state": entry.state,
        "outcome": entry.outcome,
        "prepared_at": entry.prepared_at.isoformat(),
        "settlement_id": entry.settlement_id,
        "visit_no": said.visit_no if said else None,
        "total_fen": said.total_fen if said else None,
    }
    if whole:
        view["request"] = _request(said)
        view["answer"] = None if entry.answer is None else msgspec.json.decode(entry.answer)
    return view


def _said(entry: JournalEntry) -> _Said | None:
    if entry.request is None:
        return None
    try:
        return msgspec.json.decode(entry.request, type=_Said)
    except msgspec.DecodeError:
        return None


def _request(said: _Said | None) -> dict[str, Any] | None:
    if said is None:
        return None
    request = {key: value for key, value in msgspec.to_builtins(said).items() if value not in (None, [])}
    if said.card is not None:
        request["card"] = {"card_number": mask_number(said.card.card_number, 0, 3)}
    return request

"""Reading a bank's books for the admin pages: accounts, operations with their state, totals, the frame log."""

from __future__ import annotations

import datetime as dt
from typing import Any

from settlement.stubs.bankhost.books import Books
from settlement.stubs.bankhost.frame_log import mask_pan
from settlement.stubs.bankhost.store import Store
from settlement.stubs.bankhost.wire import (
    Account,
    BankSummary,
    BookItem,
    BookPage,
    Identity,
    KindTotal,
    LogPage,
    LogRow,
)

_STATE = """
    CASE
        WHEN o.response_code <> '00' THEN 'declined'
        WHEN o.kind <> 'debit' THEN CASE WHEN o.moved_fen > 0 THEN 'done' ELSE 'nothing_to_do' END
        WHEN EXISTS (SELECT 1 FROM operation u WHERE u.original_id = o.id AND u.kind = 'void' AND u.moved_fen > 0)
            THEN 'voided'
        WHEN EXISTS (SELECT 1 FROM operation u WHERE u.original_id = o.id AND u.kind = 'reversal' AND u.moved_fen > 0)
            THEN 'reversed'
        WHEN EXISTS (SELECT 1 FROM operation u WHERE u.original_id = o.id AND u.kind = 'refund' AND u.moved_fen > 0)
            THEN CASE WHEN (SELECT sum(u.moved_fen) FROM operation u WHERE u.original_id = o.id AND u.kind = 'refund')
                           = o.amount_fen THEN 'refunded' ELSE 'partly_refunded' END
        ELSE 'live'
    END"""

_BOOKS = f"""
    SELECT o.id, o.kind, o.terminal_id, o.transmitted, o.trace, o.reference, o.institution_id, o.pan, o.amount_fen,
           o.moved_fen, {_STATE} AS state, o.response_code, o.authorisation, o.settlement_date, o.recorded_at,
           d.terminal_id AS d_terminal_id, d.transmitted AS d_transmitted, d.trace AS d_trace,
           d.reference AS d_reference
    FROM operation o LEFT JOIN operation d ON d.id = o.original_id
    WHERE o.id > ? ORDER BY o.id LIMIT ?"""  # noqa: S608  # put together from constants

_TOTALS = f"""
    SELECT kind, state, count(*), sum(amount_fen)
    FROM (SELECT o.kind, {_STATE} AS state, o.amount_fen FROM operation o)
    GROUP BY kind, state ORDER BY kind, state"""  # noqa: S608  # put together from constants

_BALANCED = """
    SELECT count(*) FROM account a
    WHERE a.balance_fen <> (SELECT coalesce(sum(e.amount_fen), 0) FROM entry e WHERE e.pan = a.pan)"""

_LOG = """SELECT id, recorded_at, direction, mti, processing_code, network_code, terminal_id, transmitted, trace,
                 reference, pan, amount_fen, response_code, note
          FROM frame_log"""


def account(store: Store, bank: str, pan: str) -> Account | None:
    """One account, or None."""
    row = store.account(pan)
    if row is None:
        return None
    known: dict[str, Any] = row._asdict()
    check = known.pop("pin_check")
    return Account(bank=bank, has_pin=check is not None, **known)


def books(store: Store, bank: str, after: int, limit: int) -> BookPage:
    """Operations with a number above ``after``, oldest first."""
    rows = store.connection.execute(_BOOKS, (after, limit)).fetchall()
    items = [_book_item(bank, row) for row in rows]
    return BookPage(items=items, next_after=items[-1].id if len(items) == limit else None)


def _book_item(bank: str, row: tuple[Any, ...]) -> BookItem:
    original = row[15:19]
    return BookItem(
        id=row[0],
        kind=row[1],
        identity=_identity(bank, row[2:6]),
        original=None if original[0] is None else _identity(bank, original),
        institution_id=row[6],
        pan=mask_pan(row[7]),
        amount_fen=row[8],
        moved_fen=row[9],
        state=row[10],
        response_code=row[11],
        authorisation=row[12],
        settlement_date=dt.date.fromisoformat(row[13]),
        recorded_at=dt.datetime.fromisoformat(row[14]),
    )


def _identity(bank: str, values: tuple[str, ...]) -> Identity:
    terminal_id, transmitted, trace, reference = values
    return Identity(bank=bank, terminal_id=terminal_id, transmitted=transmitted, trace=trace, reference=reference)


def summary(books_of_bank: Books) -> BankSummary:
    """One bank's books in short."""
    store, profile = books_of_bank.store, books_of_bank.profile
    accounts, balance = store.connection.execute(
        "SELECT count(*), coalesce(sum(balance_fen), 0) FROM account"
    ).fetchone()
    tombstones = store.connection.execute("SELECT count(*) FROM tombstone").fetchone()[0]
    return BankSummary(
        bank=profile.code,
        name=f"{profile.name_zh} {profile.name_en}",
        business_date=books_of_bank.business_date(),
        accounts=accounts,
        balance_fen=balance,
        balanced=store.connection.execute(_BALANCED).fetchone()[0] == 0,
        tombstones=tombstones,
        totals=[
            KindTotal(kind=row[0], state=row[1], count=row[2], amount_fen=row[3])
            for row in store.connection.execute(_TOTALS)
        ],
    )


def frames(store: Store, after: int, limit: int, reference: str | None) -> LogPage:
    """Frames with a number above ``after``, oldest first; only those with this field 37, if given."""
    where, values = " WHERE id > ?", [after]
    if reference is not None:
        rows = store.connection.execute(
            _LOG + where + " AND reference = ? ORDER BY id LIMIT ?", (*values, reference, limit)
        ).fetchall()
    else:
        rows = store.connection.execute(_LOG + where + " ORDER BY id LIMIT ?", (*values, limit)).fetchall()
    items = [_log_row(row) for row in rows]
    return LogPage(items=items, next_after=items[-1].id if len(items) == limit else None)


def last_frames(store: Store, limit: int) -> list[LogRow]:
    """The newest frames, newest first."""
    return [_log_row(row) for row in store.connection.execute(_LOG + " ORDER BY id DESC LIMIT ?", (limit,))]


def _log_row(row: tuple[Any, ...]) -> LogRow:
    return LogRow(
        id=row[0],
        recorded_at=dt.datetime.fromisoformat(row[1]),
        direction=row[2],
        mti=row[3],
        processing_code=row[4],
        network_code=row[5],
        terminal_id=row[6],
        transmitted=row[7],
        trace=row[8],
        reference=row[9],
        pan=row[10],
        amount_fen=row[11],
        response_code=row[12],
        note=row[13],
    )

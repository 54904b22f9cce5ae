"""The rules of a stub bank, on real books and a clock that can be set."""

from __future__ import annotations

import asyncio
import datetime as dt
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from settlement.banks.directory import default_directory
from settlement.banks.iso.original import DebitStatus, Original, read_status
from settlement.ids import SystemIds
from settlement.stubs.bankhost import queries
from settlement.stubs.bankhost.books import Books
from settlement.stubs.bankhost.frame_log import log_frame
from settlement.stubs.bankhost.profile import Duplicates, profile_of
from settlement.stubs.bankhost.store import Store
from settlement.stubs.bankhost.wire import AccountSpec
from settlement.stubs.bankhost.worker import Worker
from terminal_sdk.pin import encode_pin_block

PAN = "6222021234567890123"
PIN_KEY = b"p" * 16
START_FEN = 1_000_000


class SetClock:
    def __init__(self) -> None:
        self.moment = dt.datetime(2026, 11, 23, 4, 0, tzinfo=dt.UTC)

    def now(self) -> dt.datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.moment += dt.timedelta(seconds=seconds)


class Desk:
    """One bank's books with one account, and short ways to ask."""

    def __init__(self, books: Books, clock: SetClock) -> None:
        self.books = books
        self.clock = clock
        self.open()

    def open(self, **changes: object) -> None:
        spec = {"bank": "BOSC", "pan": PAN, "balance_fen": START_FEN, "pin": "123456", **changes}
        self.books.put_account(AccountSpec(**spec), only_new=False)

    def fields(self, mti: str, code: str, number: int, amount: int, original: int | None = None) -> dict[str, str]:
        fields = {
            "t": mti,
            "2": PAN,
            "3": code,
            "4": f"{amount:012d}",
            "7": "1123040000",
            "11": f"{number:06d}",
            "37": f"{number:012d}",
            "41": "T0000001",
            "42": "H31010100001   ",
        }
        if original is not None:
            named = Original("T0000001", "1123040000", f"{original:06d}", f"{original:012d}")
            fields.update(named.fields("310000"))
        return fields

    def ask(self, fields: dict[str, str]) -> dict[str, str]:
        return self.books.handle(fields, PIN_KEY)

    def debit(self, number: int, amount: int = 1_000, pin: str | None = None, **changes: str) -> str:
        fields = {**self.fields("0200", "000000", number, amount), **changes}
        if pin is not None:
            fields["52"] = encode_pin_block(pin, PAN, PIN_KEY).hex().upper()
        return self.ask(fields)["39"]

    def void(self, number: int, original: int, amount: int = 1_000) -> str:
        return self.ask(self.fields("0200", "200000", number, amount, original))["39"]

    def refund(self, number: int, original: int, amount: int = 1_000) -> str:
        return self.ask(self.fields("0220", "200000", number, amount, original))["39"]

    def reverse(self, number: int, original: int, amount: int = 1_000) -> str:
        return self.ask(self.fields("0400", "000000", number, amount, original))["39"]

    def status(self, original: int) -> DebitStatus | None:
        answer = self.ask(self.fields("0600", "330000", 999_999, 1_000, original))
        return read_status(answer["62"]).status if answer["39"] == "00" else None

    @property
    def balance(self) -> int:
        account = self.books.store.account(PAN)
        assert account is not None
        return account.balance_fen


@pytest.fixture
def open_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    stores: list[Store] = []

    def make(bank: str = "BOSC", **changes: object) -> Desk:
        clock = SetClock()
        store = Store(tmp_path / f"{bank}{len(stores)}.sqlite3")
        stores.append(store)
        profile = replace(profile_of(default_directory()[bank]), **changes)
        return Desk(Books(store, profile, b"k" * 16, clock, SystemIds(clock)), clock)

    yield make
    for store in stores:
        assert queries.books(store, "BOSC", 0, 1_000).next_after is None
        store.close()


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    return open_desk()


def test_a_debit_takes_the_money_once(desk: Desk) -> None:
    first = desk.ask(desk.fields("0200", "000000", 1, 1_000))
    again = desk.ask(desk.fields("0200", "000000", 1, 1_000))

    assert first["39"] == "00"
    assert again == first
    assert desk.balance == START_FEN - 1_000


def test_some_banks_answer_a_repeated_debit_with_94(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(duplicates=Duplicates.CODE_94)

    assert [desk.debit(1), desk.debit(1)] == ["00", "94"]
    assert desk.balance == START_FEN - 1_000


def test_the_same_identity_with_another_amount_never_passes_for_the_first(desk: Desk) -> None:
    assert [desk.debit(1, 1_000), desk.debit(1, 2_000)] == ["00", "94"]
    assert desk.balance == START_FEN - 1_000


@pytest.mark.parametrize("field", ["41", "7", "37"])
def test_the_whole_identity_tells_two_debits_with_one_trace_apart(desk: Desk, field: str) -> None:
    other = {"41": "T0000002", "7": "1123040001", "37": "000000000002"}[field]

    assert [desk.debit(1), desk.debit(1, **{field: other})] == ["00", "00"]
    assert desk.balance == START_FEN - 2_000


@pytest.mark.parametrize(
    ("change", "amount", "code"),
    [
        ({"state": "frozen"}, 1, "05"),
        ({"state": "expired"}, 1, "54"),
        ({"state": "closed"}, 1, "14"),
        ({"balance_fen": 999}, 1_000, "51"),
        ({"transaction_limit_fen": 999}, 1_000, "61"),
        ({"daily_limit_fen": 999}, 1_000, "61"),
        ({"daily_count_limit": 0}, 1, "65"),
        ({"no_pin_limit_fen": 999}, 1_000, "55"),
    ],
)
def test_declines(desk: Desk, change: dict[str, object], amount: int, code: str) -> None:
    desk.open(**change)
    before = desk.balance

    assert desk.debit(1, amount) == code
    assert desk.balance == before
    assert desk.status(1) is DebitStatus.DECLINED


def test_an_unknown_card_is_declined(desk: Desk) -> None:
    assert desk.debit(1, **{"2": "6222029999999999999"}) == "14"


def test_the_largest_debit_without_a_pin_is_a_thousand_yuan(desk: Desk) -> None:
    assert desk.debit(1, 100_000) == "00"
    assert desk.debit(2, 100_001) == "55"
    assert desk.debit(3, 100_001, pin="123456") == "00"


def test_day_limits_count_what_stands_and_start_anew_each_day(desk: Desk) -> None:
    desk.open(daily_limit_fen=2_500, daily_count_limit=2)
    assert [desk.debit(1), desk.debit(2), desk.debit(3, 100)] == ["00", "00", "65"]
    assert desk.void(4, 1) == "00"
    assert [desk.debit(5, 1_501), desk.debit(6, 1_500)] == ["61", "00"]
    assert [desk.reverse(8, 2), desk.refund(9, 6, 1_500), desk.debit(10, 1_001)] == ["00", "00", "61"]
    desk.books.cut_over()
    assert desk.debit(7, 2_500) == "00"


def test_a_wrong_pin_thrice_locks_the_card(desk: Desk) -> None:
    assert [desk.debit(number, pin="000000") for number in (1, 2, 3)] == ["55", "55", "75"]
    assert desk.debit(4, pin="123456") == "75"
    assert desk.debit(5) == "75"
    desk.open(pin="123456")
    assert desk.debit(6, pin="123456") == "00"


def test_a_right_pin_forgives_the_wrong_ones(desk: Desk) -> None:
    codes = [desk.debit(number, pin=pin) for number, pin in enumerate(["1111", "2222", "123456", "3333", "4444"])]
    assert codes == ["55", "55", "00", "55", "55"]


def test_a_repeated_wrong_pin_message_is_one_try(desk: Desk) -> None:
    fields = desk.fields("0200", "000000", 1, 1_000)
    fields["52"] = encode_pin_block("000000", PAN, PIN_KEY).hex().upper()
    assert [desk.ask(fields)["39"] for _ in range(5)] == ["55"] * 5
    assert desk.debit(2, pin="123456") == "00"


def test_a_block_under_another_key_is_no_try_of_the_holder(desk: Desk) -> None:
    block = encode_pin_block("123456", PAN, b"x" * 16).hex().upper()
    assert [desk.debit(number, **{"52": block}) for number in range(4)] == ["55"] * 4
    assert desk.debit(9, pin="123456") == "00"


def test_no_pin_rests_in_the_books(desk: Desk) -> None:
    desk.open(pin="918273")
    dump = "\n".join(desk.books.store.connection.iterdump())
    assert "918273" not in dump
    assert b"918273".hex() not in dump.lower()


def test_a_void_gives_everything_back_once(desk: Desk) -> None:
    desk.debit(1)
    assert [desk.void(2, 1), desk.void(2, 1), desk.void(3, 1), desk.reverse(4, 1)] == ["00"] * 4
    assert desk.balance == START_FEN
    assert desk.status(1) is DebitStatus.VOIDED


def test_a_void_after_the_cut_over_is_too_late_and_a_refund_takes_its_place(desk: Desk) -> None:
    desk.debit(1)
    desk.books.cut_over()
    assert [desk.void(2, 1), desk.refund(3, 1)] == ["13", "00"]
    assert desk.balance == START_FEN
    assert desk.status(1) is DebitStatus.REFUNDED


def test_the_day_ends_by_the_clock_too(desk: Desk) -> None:
    desk.debit(1)
    desk.clock.moment = dt.datetime(2026, 11, 23, 14, 59, tzinfo=dt.UTC)
    assert desk.books.business_date() == dt.date(2026, 11, 23)
    desk.clock.moment = dt.datetime(2026, 11, 23, 15, 0, tzinfo=dt.UTC)
    assert desk.books.business_date() == dt.date(2026, 11, 24)
    assert desk.void(2, 1) == "13"


def test_refunds_never_exceed_the_debit(desk: Desk) -> None:
    desk.debit(1)
    assert [desk.refund(2, 1, 600), desk.refund(3, 1, 401), desk.refund(4, 1, 400)] == ["00", "64", "00"]
    assert desk.refund(2, 1, 600) == "00"
    assert desk.balance == START_FEN


def test_a_refund_under_a_known_identity_is_not_made_again(desk: Desk) -> None:
    desk.debit(1)
    fields = desk.fields("0220", "200000", 2, 400, original=1)
    assert desk.ask(fields) == desk.ask(fields)
    assert desk.balance == START_FEN - 600
    assert desk.status(1) is DebitStatus.PARTLY_REFUNDED
    assert desk.refund(2, 1, 500) == "94"


def test_what_was_refunded_or_undone_is_not_given_back_again(desk: Desk) -> None:
    for number in (1, 2, 3):
        desk.debit(number)
    desk.refund(11, 1, 100)
    assert [desk.void(12, 1), desk.reverse(13, 1)] == ["12", "12"]
    desk.reverse(14, 2)
    assert [desk.refund(15, 2), desk.void(16, 2)] == ["12", "00"]
    desk.void(17, 3)
    assert desk.refund(18, 3) == "12"
    assert desk.balance == START_FEN - 900


def test_undoing_needs_the_right_amount_and_a_known_approval(desk: Desk) -> None:
    desk.debit(1)
    desk.debit(2, 2 * START_FEN)
    assert [desk.void(11, 1, 999), desk.reverse(12, 1, 999)] == ["64", "64"]
    assert [desk.void(13, 7), desk.refund(14, 7), desk.void(15, 2, 2 * START_FEN)] == ["25"] * 3
    assert desk.balance == START_FEN - 1_000


def test_a_reversal_undoes_and_may_be_repeated_for_ever(desk: Desk) -> None:
    desk.debit(1)
    desk.books.cut_over()
    assert [desk.reverse(1, 1), desk.reverse(1, 1), desk.reverse(9, 1)] == ["00"] * 3
    assert desk.balance == START_FEN
    assert desk.status(1) is DebitStatus.REVERSED


def test_a_declined_debit_has_nothing_to_reverse(desk: Desk) -> None:
    desk.debit(1, 2 * START_FEN)
    assert desk.reverse(2, 1, 2 * START_FEN) == "00"
    assert desk.balance == START_FEN


def test_a_reversal_before_its_debit_leaves_a_tombstone(desk: Desk) -> None:
    assert [desk.reverse(2, 1), desk.reverse(2, 1), desk.debit(1), desk.debit(1)] == ["25", "25", "12", "12"]
    assert desk.balance == START_FEN
    assert desk.status(1) is None


def test_a_bank_without_memory_books_the_late_debit_and_reverses_it_then(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(remembers_reversal=False)
    assert [desk.reverse(2, 1), desk.debit(1)] == ["25", "00"]
    assert desk.balance == START_FEN - 1_000
    assert desk.reverse(2, 1) == "00"
    assert desk.balance == START_FEN


def test_an_inquiry_shows_the_amount_in_the_books(desk: Desk) -> None:
    desk.debit(1, 1_234)
    answer = desk.ask(desk.fields("0600", "330000", 9, 9_999, original=1))
    assert (answer["39"], answer["4"]) == ("00", "000000001234")
    assert desk.status(7) is None


def test_inquiry_is_not_offered_everywhere(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(offers_inquiry=False)
    assert desk.ask(desk.fields("0600", "330000", 9, 1, original=1))["39"] == "12"


def test_an_advice_is_noted_and_moves_nothing(desk: Desk) -> None:
    answers = [desk.ask(desk.fields("0420", "000000", 1, 1_000)) for _ in range(2)]
    assert [answer["t"] + answer["39"] for answer in answers] == ["043000"] * 2
    assert desk.balance == START_FEN


@pytest.mark.parametrize("missing", ["4", "37", "42"])
def test_a_message_without_its_identity_is_a_format_error(desk: Desk, missing: str) -> None:
    fields = desk.fields("0200", "000000", 1, 1_000)
    del fields[missing]
    assert desk.ask(fields)["39"] == "30"


def test_undoing_without_naming_the_original_is_a_format_error(desk: Desk) -> None:
    assert desk.ask(desk.fields("0400", "000000", 1, 1_000))["39"] == "30"


@pytest.mark.parametrize("table", ["operation", "entry", "tombstone", "frame_log"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET recorded_at = ''", "DELETE FROM {}"])
def test_the_database_refuses_to_change_or_lose_what_was_done(desk: Desk, statement: str, table: str) -> None:
    desk.debit(1)
    desk.reverse(3, 2)
    log_frame(desk.books.store, "received", {"t": "0200", "2": PAN}, desk.clock.now())
    with pytest.raises(sqlite3.IntegrityError, match="append only"):
        desk.books.store.connection.execute(statement.format(table))


def test_the_database_refuses_to_overdraw_and_to_undo_twice(desk: Desk) -> None:
    desk.debit(1)
    store = desk.books.store
    with pytest.raises(sqlite3.IntegrityError):
        store.move(PAN, -desk.balance - 1, None, desk.clock.now())
    desk.void(2, 1)
    with pytest.raises(sqlite3.IntegrityError):
        store.connection.execute(
            """INSERT INTO operation SELECT 99, 'reversal', terminal_id, transmitted, trace, reference, institution_id,
               pan, amount_fen, moved_fen, original_id, response_code, authorisation, settlement_date, recorded_at
               FROM operation WHERE kind = 'void'"""
        )


def test_the_summary_says_whether_the_books_balance(desk: Desk) -> None:
    desk.debit(1)
    assert queries.summary(desk.books).balanced
    desk.books.store.connection.execute("UPDATE account SET balance_fen = balance_fen + 1")
    assert not queries.summary(desk.books).balanced


def test_a_commit_is_on_the_disk(desk: Desk) -> None:
    connection = desk.books.store.connection
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_a_job_that_fails_leaves_nothing_and_spoils_no_other(tmp_path: Path) -> None:
    worker: Worker[Store] = Worker("x", lambda: Store(tmp_path / "x.sqlite3"), lambda store: store.connection)
    await worker.start()

    def write(number: int) -> Callable[[Store], int]:
        def work(store: Store) -> int:
            store.set_meta(str(number), "written")
            if number % 3 == 0:
                raise ValueError(number)
            return number

        return work

    results = await asyncio.gather(*(worker.run(write(number)) for number in range(30)), return_exceptions=True)
    kept = await worker.run(lambda store: [store.meta(str(number)) is not None for number in range(30)])
    await worker.stop()

    assert [isinstance(result, ValueError) for result in results] == [number % 3 == 0 for number in range(30)]
    assert kept == [number % 3 != 0 for number in range(30)]


async def test_books_that_cannot_be_opened_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite3").write_bytes(b"this is no database" * 100)
    worker: Worker[Store] = Worker("x", lambda: Store(tmp_path / "x.sqlite3"), lambda store: store.connection)
    with pytest.raises(sqlite3.DatabaseError):
        await worker.start()
    await worker.stop()

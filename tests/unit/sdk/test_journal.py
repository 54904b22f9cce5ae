"""The journal: durable, private, one attempt per bill line, and an end that stands."""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from terminal_sdk import AttemptStillOpen, ForwarderBusy, Journal, JournalError, KeyReused, QueueFull
from terminal_sdk.crypto import Sm2PrivateKey
from terminal_sdk.journal import ForwardLock
from terminal_sdk.journal.seal import Seal

KEY = Sm2PrivateKey.from_bytes(bytes(range(1, 33)))
NOW = dt.datetime(2019, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
BODY = '{"card_number":"A12345678","item_name":"阿莫西林胶囊","visit_no":"ORDER-77"}'.encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "till.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal(path, terminal_id="YD000001", key=KEY) as opened:
        yield opened


def prepare(journal: Journal, key: str, *lines: tuple[str, int], at: dt.datetime = NOW) -> None:
    journal.prepare(key, "settlement", "/v1/settlements", BODY, session_id="s-1", at=at, lines=lines)


def test_an_attempt_from_prepared_to_answered(journal: Journal) -> None:
    prepare(journal, "key-0001")
    (entry,) = journal.open_entries()
    assert (entry.state, entry.request, entry.session_id, entry.prepared_at) == ("prepared", BODY, "s-1", NOW)
    journal.mark_sent("key-0001", NOW)
    journal.note_settlement_id("key-0001", "id-1")
    assert [entry.state for entry in journal.open_entries()] == ["sent"]
    journal.answer("key-0001", "settlement", b"{}", NOW)
    assert journal.open_entries() == []
    found = journal.find("key-0001")
    assert found is not None
    assert (found.state, found.outcome, found.answer, found.settlement_id) == ("answered", "settlement", b"{}", "id-1")
    assert journal.find_settlement("id-1") == found
    assert journal.find("key-0002") is None


def test_the_first_end_stands(journal: Journal) -> None:
    prepare(journal, "key-0001")
    journal.answer("key-0001", "reversal", b"first", NOW)
    journal.answer("key-0001", "settlement", b"second", NOW)
    found = journal.find("key-0001")
    assert found is not None
    assert (found.outcome, found.answer) == ("reversal", b"first")


def test_sending_begins_once_and_only_from_prepared(journal: Journal) -> None:
    with pytest.raises(JournalError):
        journal.mark_sent("key-0001", NOW)
    prepare(journal, "key-0001")
    journal.mark_sent("key-0001", NOW)
    with pytest.raises(JournalError):
        journal.mark_sent("key-0001", NOW)
    with pytest.raises(KeyReused):
        prepare(journal, "key-0001")


def test_a_line_of_an_open_attempt_is_not_tried_a_second_time(journal: Journal) -> None:
    prepare(journal, "key-0001", ("ORDER-77", 1), ("ORDER-77", 2))
    with pytest.raises(AttemptStillOpen) as refused:
        prepare(journal, "key-0002", ("ORDER-77", 3), ("ORDER-77", 2))
    assert refused.value.idempotency_key == "key-0001"
    assert journal.find("key-0002") is None
    prepare(journal, "key-0003", ("ORDER-77", 3), ("ORDER-78", 1))
    journal.answer("key-0001", "refusal", b"{}", NOW)
    prepare(journal, "key-0004", ("ORDER-77", 1), ("ORDER-77", 2))


def test_nothing_of_bill_and_card_is_readable_in_the_files(journal: Journal, path: Path) -> None:
    prepare(journal, "key-0001", ("ORDER-77", 1))
    journal.answer("key-0001", "settlement", BODY, NOW)
    files = list(path.parent.iterdir())
    assert path in files
    content = b"".join(file.read_bytes() for file in files)
    assert b"key-0001" in content
    for secret in (b"A12345678", "阿莫西林".encode(), b"ORDER-77", KEY.to_bytes(), KEY.to_bytes().hex().encode()):
        assert secret not in content
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)


def test_what_is_committed_is_in_the_files_at_once(journal: Journal, path: Path, tmp_path: Path) -> None:
    """A copy of the files, without the writer's memory, as after a kill."""
    prepare(journal, "key-0001")
    copies = tmp_path / "copy"
    copies.mkdir()
    for file in path.parent.glob("till.sqlite*"):
        if not file.name.endswith("-shm"):
            shutil.copy(file, copies)
    with Journal(copies / path.name, terminal_id="YD000001", key=KEY) as copy:
        assert [entry.request for entry in copy.open_entries()] == [BODY]


def test_under_another_key_the_attempts_are_still_listed(journal: Journal, path: Path) -> None:
    prepare(journal, "key-0001")
    with Journal(path, terminal_id="YD000001", key=Sm2PrivateKey.generate()) as other:
        (entry,) = other.open_entries()
        assert (entry.idempotency_key, entry.request) == ("key-0001", None)


def test_a_sealed_request_cannot_be_moved_to_another_key(journal: Journal, path: Path) -> None:
    prepare(journal, "key-0001")
    prepare(journal, "key-0002")
    db = sqlite3.connect(path)
    db.execute(
        "update attempt set request_sealed = (select request_sealed from attempt where idempotency_key = 'key-0001')"
    )
    db.commit()
    db.close()
    assert [entry.request for entry in journal.open_entries()] == [BODY, None]


def test_a_journal_belongs_to_one_terminal(journal: Journal, path: Path) -> None:
    with pytest.raises(JournalError, match="belongs to terminal YD000001"):
        Journal(path, terminal_id="YD000002", key=KEY)


def test_files_that_are_no_journal(tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("shopping list " * 100, encoding="utf-8")
    with pytest.raises(JournalError):
        Journal(other, terminal_id="YD000001", key=KEY)
    with pytest.raises(JournalError):
        Journal(tmp_path / "missing" / "till.sqlite", terminal_id="YD000001", key=KEY)
    newer = tmp_path / "newer.sqlite"
    db = sqlite3.connect(newer)
    db.execute("pragma user_version = 99")
    db.close()
    with pytest.raises(JournalError, match="version 99"):
        Journal(newer, terminal_id="YD000001", key=KEY)


def test_old_answered_attempts_are_forgotten_and_open_ones_never(journal: Journal, path: Path) -> None:
    long_ago = dt.datetime.now(dt.UTC) - dt.timedelta(days=36)
    prepare(journal, "key-open", at=long_ago)
    prepare(journal, "key-done", at=long_ago)
    journal.answer("key-done", "settlement", b"{}", long_ago)
    prepare(journal, "key-late", at=long_ago)
    journal.answer("key-late", "settlement", b"{}", dt.datetime.now(dt.UTC))
    with Journal(path, terminal_id="YD000001", key=KEY) as again:
        assert again.find("key-open") is not None
        assert again.find("key-done") is None
        assert again.find("key-late") is not None


VERSION_1 = """
create table owner (terminal_id text not null);
create table attempt (
    idempotency_key text primary key,
    operation       text not null check (operation in ('settlement', 'reversal')),
    state           text not null check (state in ('prepared', 'sent', 'answered')),
    path            text not null,
    session_id      text not null,
    request_sealed  blob not null,
    prepared_at     text not null,
    sent_at         text,
    settlement_id   text,
    outcome         text check (outcome in ('settlement', 'reversal', 'refusal', 'never_sent')),
    answer_sealed   blob,
    answered_at     text,
    check ((state = 'answered') = (outcome is not null and answered_at is not null))
) without rowid;
create index attempt_open on attempt (prepared_at) where state <> 'answered';
create table open_line (
    mark            blob primary key,
    idempotency_key text not null references attempt
) without rowid;
create index open_line_of on open_line (idempotency_key);
insert into owner values ('YD000001');
pragma user_version = 1;
"""


def version_1(path: Path) -> None:
    """A file as the first kit left it: a paid bill, its open reversal by id, an open bill and its reversal by key."""
    seal = Seal(KEY)
    late, now = (NOW + dt.timedelta(hours=1)).isoformat(), dt.datetime.now(dt.UTC).isoformat()
    by_key = b'{"idempotency_key":"rev-2222","original_idempotency_key":"key-2222","reason":"till"}'
    rows: list[tuple[Any, ...]] = [
        ("key-1111", "settlement", "answered", "/v1/settlements", BODY, NOW.isoformat(), "id-1", "settlement", now),
        ("rev-1111", "reversal", "sent", "/v1/settlements/id-1/reversal", b"{}", late, None, None, None),
        ("key-2222", "settlement", "sent", "/v1/settlements", BODY, late, None, None, None),
        ("rev-2222", "reversal", "prepared", "/v1/reversals", by_key, now, None, None, None),
    ]
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.executescript(VERSION_1)
        for key, operation, state, request_path, request, at, settlement_id, outcome, answered_at in rows:
            db.execute(
                "insert into attempt values (?, ?, ?, ?, 's-1', ?, ?, null, ?, ?, ?, ?)",
                (
                    *(key, operation, state, request_path, seal.seal(request, key, "request"), at),
                    *(settlement_id, outcome, seal.seal(b"{}", key, "answer") if outcome else None, answered_at),
                ),
            )
        db.execute("insert into open_line values (?, 'key-2222')", (seal.mark("ORDER-77", 1),))


def test_a_file_of_the_first_kit_is_brought_up_to_date(path: Path) -> None:
    version_1(path)
    with Journal(path, terminal_id="YD000001", key=KEY) as journal:
        assert [(entry.idempotency_key, entry.bill) for entry in journal.open_entries()] == [
            ("key-2222", "key-2222"),
            ("rev-1111", "key-1111"),
            ("rev-2222", "key-2222"),
        ]
        paid = journal.find("key-1111")
        assert paid is not None
        assert (paid.request, paid.answer, paid.settlement_id) == (BODY, b"{}", "id-1")
        assert journal.not_handed_out() == []
        with pytest.raises(AttemptStillOpen):
            prepare(journal, "key-3333", ("ORDER-77", 1))
        journal.answer("key-2222", "refusal", b"{}", NOW)
        prepare(journal, "key-3333", ("ORDER-77", 1))
    with Journal(path, terminal_id="YD000001", key=KEY) as again:
        assert again.find("key-3333") is not None


def test_an_upgrade_that_is_cut_off_leaves_the_old_file_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version_1(path)

    def power_cut(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("terminal_sdk.journal.schema._bill_of", power_cut)
        with pytest.raises(KeyboardInterrupt):
            Journal(path, terminal_id="YD000001", key=KEY)
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("pragma user_version").fetchone() == (1,)
        assert db.execute("select count(*) from attempt").fetchone() == (4,)
    with Journal(path, terminal_id="YD000001", key=KEY) as journal:
        assert len(journal.open_entries()) == 3


def take_back(journal: Journal, key: str, bill: str) -> None:
    journal.prepare(key, "reversal", "/v1/reversals", b"{}", session_id="", at=NOW, bill=bill)


def handed_out(journal: Journal) -> list[str]:
    return [entry.idempotency_key for entry in journal.not_handed_out()]


def test_what_is_paid_is_to_be_handed_out_until_it_is_marked(journal: Journal, path: Path) -> None:
    prepare(journal, "key-0001")
    assert not journal.mark_handed_out("key-0001", NOW)  # there is nothing yet
    journal.answer("key-0001", "settlement", b"{}", NOW, "id-1")
    with Journal(path, terminal_id="YD000001", key=KEY, keep_days=99_999) as after_a_power_cut:
        assert handed_out(after_a_power_cut) == ["key-0001"]
    assert journal.mark_handed_out("key-0001", NOW)
    assert not journal.mark_handed_out("key-0001", NOW)
    assert handed_out(journal) == []


def test_a_bill_that_is_being_taken_back_is_not_printed_any_more(journal: Journal) -> None:
    prepare(journal, "key-0001")
    journal.answer("key-0001", "settlement", b"{}", NOW, "id-1")
    take_back(journal, "rev-0001", "id-1")
    assert handed_out(journal) == []
    journal.answer("rev-0001", "refusal", b"{}", NOW)
    assert handed_out(journal) == ["key-0001", "rev-0001"]
    journal.reopen("rev-0001")
    journal.answer("rev-0001", "reversal", b"{}", NOW)
    assert handed_out(journal) == ["rev-0001"]
    assert journal.mark_handed_out("rev-0001", NOW)
    assert handed_out(journal) == []


def test_a_bill_has_one_name(journal: Journal) -> None:
    prepare(journal, "key-0001")
    journal.answer("key-0001", "settlement", b"{}", NOW, "id-1")
    take_back(journal, "rev-0001", "id-1")
    take_back(journal, "rev-0002", "key-0001")
    take_back(journal, "rev-0003", "id-of-another-till")
    assert [entry.bill for entry in journal.owed_entries()] == ["key-0001", "key-0001", "id-of-another-till"]
    assert [entry.idempotency_key for entry in journal.owed_entries("key-0001")] == ["rev-0001", "rev-0002"]


def test_order_is_that_of_writing_whatever_the_clock_says(journal: Journal) -> None:
    for number, day in enumerate((3, 1, 2)):
        prepare(journal, f"key-000{number}", at=NOW + dt.timedelta(days=day))
    assert [entry.idempotency_key for entry in journal.open_entries()] == ["key-0000", "key-0001", "key-0002"]
    assert journal.recent(1)[0].idempotency_key == "key-0002"


def test_a_full_journal_begins_nothing_new_and_keeps_a_place_for_each_reversal(tmp_path: Path) -> None:
    with Journal(tmp_path / "small.sqlite", terminal_id="YD000001", key=KEY, queue_max=3) as journal:
        for number in range(3):
            prepare(journal, f"key-000{number}")
        with pytest.raises(QueueFull) as full:
            prepare(journal, "key-0003")
        assert full.value.waiting == 3
        with pytest.raises(QueueFull):
            take_back(journal, "rev-of-another", "id-of-another-till")
        assert journal.find("key-0003") is None
        for number in range(3):
            take_back(journal, f"rev-000{number}", f"key-000{number}")
        with pytest.raises(QueueFull):
            take_back(journal, "rev-0003", "key-0000")  # a second one of the same bill
        journal.answer("rev-0000", "reversal", b"{}", NOW)
        journal.answer("key-0000", "reversal", b"{}", NOW)
        with pytest.raises(QueueFull):
            prepare(journal, "key-0003")  # two bills and two reversals are still open
        for number in (1, 2):
            journal.answer(f"key-000{number}", "reversal", b"{}", NOW)
        prepare(journal, "key-0003")


def test_failures_are_counted_until_the_end(journal: Journal) -> None:
    take_back(journal, "rev-0001", "key-0001")
    journal.note_failure("rev-0001", "timeout", NOW)
    journal.note_failure("rev-0001", "connection", NOW, NOW + dt.timedelta(seconds=2))
    (entry,) = journal.owed_entries()
    assert (entry.tries, entry.last_error, entry.next_try_at) == (2, "connection", NOW + dt.timedelta(seconds=2))
    journal.answer("rev-0001", "reversal", b"{}", NOW)
    journal.note_failure("rev-0001", "timeout", NOW)
    ended = journal.find("rev-0001")
    assert ended is not None
    assert (ended.tries, ended.next_try_at, ended.is_owed) == (2, None, False)


def test_a_bill_is_forwarded_only_when_it_was_given_up(journal: Journal) -> None:
    prepare(journal, "key-0001")
    assert journal.owed_entries() == []
    journal.give_up("key-0001")
    assert [entry.idempotency_key for entry in journal.owed_entries()] == ["key-0001"]


def test_one_forwarder_at_a_time(path: Path) -> None:
    with ForwardLock(path), pytest.raises(ForwarderBusy), ForwardLock(path):
        pass
    with ForwardLock(path):
        lock = path.with_name("till.sqlite-forward")
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600

"""The journal: durable, private, one attempt per bill line, and an end that stands."""

from __future__ import annotations

import datetime as dt
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from terminal_sdk import AttemptStillOpen, Journal, JournalError, KeyReused
from terminal_sdk.crypto import Sm2PrivateKey

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

"""What every till holds to be true in the end: read from the journals on its disk, not from what the run remembers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from terminal_sdk import wire
from terminal_sdk.crypto import Sm2PrivateKey
from terminal_sdk.journal import Journal, JournalEntry

Word = Literal["reversed", "settled", "declined", "open", "refused", "never_sent"]
_RANK: tuple[Word, ...] = ("reversed", "settled", "declined", "open", "refused", "never_sent")
"""Which word counts where a terminal's journals hold several for a key: what was taken back stays taken back."""
_ALL = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TillWord:
    """The last word of a terminal about one of its keys, from all its journals.

    ``settlement_id``: as the service named it, None if it never did · ``bank_fen``, ``bank`` and ``reference`` (field
    37): the bank's share of a settled bill as the till was told it; 0 and empty otherwise.
    """

    terminal_id: str
    key: str
    visit_no: str
    word: Word
    settlement_id: str | None = None
    bank_fen: int = 0
    bank: str = ""
    reference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """All tills' last words by key; attempts without an answer; keys that were settled and declined at once."""

    by_key: Mapping[str, TillWord]
    open_attempts: int
    contradictions: Sequence[str]


class Owner(Protocol):
    """Whose journal it is: all that is needed of a terminal's ``Credentials``."""

    @property
    def terminal_id(self) -> str:
        """The terminal."""

    @property
    def key(self) -> Sm2PrivateKey:
        """Its private key."""


def read_words(folder: Path, credentials: Sequence[Owner]) -> Words:
    """Read every journal in ``folder`` that belongs to one of these terminals; blocks. Raises ``JournalError``."""
    by_key: dict[str, TillWord] = {}
    left_open = 0
    contradictions: list[str] = []
    for own in credentials:
        entries: list[JournalEntry] = []
        for path in sorted(folder.glob(f"{own.terminal_id}*.sqlite")):
            with Journal(path, terminal_id=own.terminal_id, key=own.key) as journal:
                entries += journal.recent(_ALL)
        words = words_of(own.terminal_id, entries)
        left_open += words.open_attempts
        by_key |= words.by_key
        contradictions += words.contradictions
    return Words(by_key=by_key, open_attempts=left_open, contradictions=contradictions)


def words_of(terminal_id: str, entries: Iterable[JournalEntry]) -> Words:
    """The words of one terminal, from the entries of all its journals. Raises ``msgspec.DecodeError``."""
    said: dict[str, list[TillWord]] = defaultdict(list)
    taken_back = set[str]()
    left_open = 0
    for entry in entries:
        left_open += entry.state != "answered"
        if entry.operation == "settlement":
            said[entry.idempotency_key].append(_word(terminal_id, entry))
        elif entry.outcome == "reversal":
            taken_back |= _targets(entry)
    by_key, contradictions = {}, []
    for key, words in said.items():
        if {"settled", "declined"} <= {each.word for each in words}:
            contradictions.append(key)
        word = min(words, key=lambda each: _RANK.index(each.word))
        if {key, word.settlement_id} & taken_back:
            word = TillWord(
                terminal_id=terminal_id,
                key=key,
                visit_no=word.visit_no,
                word="reversed",
                settlement_id=word.settlement_id,
            )
        by_key[key] = word
    return Words(by_key=by_key, open_attempts=left_open, contradictions=contradictions)


def _word(terminal_id: str, entry: JournalEntry) -> TillWord:
    request = msgspec.json.decode(entry.request or b"", type=wire.SettlementRequest)
    word: Word = "open"
    settlement: wire.Settlement | None = None
    match entry.outcome:
        case "settlement":
            settlement = msgspec.json.decode(entry.answer or b"", type=wire.Settlement)
            word = _word_of(settlement)
        case "reversal":
            word = "reversed"
        case "refusal":
            word = "refused"
        case "never_sent":
            word = "never_sent"
    bank = settlement.bank if settlement is not None and word == "settled" else None
    paid = bank is not None and settlement is not None and settlement.split.bank_fen > 0
    return TillWord(
        terminal_id=terminal_id,
        key=entry.idempotency_key,
        visit_no=request.visit_no,
        word=word,
        settlement_id=entry.settlement_id,
        bank_fen=settlement.split.bank_fen if paid and settlement is not None else 0,
        bank=bank.bank if paid and bank is not None else "",
        reference=bank.reference if paid and bank is not None else "",
    )


def _word_of(settlement: wire.Settlement) -> Word:
    match settlement.state:
        case "settled" | "declined":
            return settlement.state
        case "reversing" | "reversed":
            return "reversed"
        case _:
            return "open"


def _targets(entry: JournalEntry) -> set[str]:
    """What a reversal took back: the settlement's name, or the key under which it was sent, or both."""
    reversal = msgspec.json.decode(entry.answer or b"", type=wire.Reversal)
    targets = set() if reversal.settlement_id is None else {reversal.settlement_id}
    request = msgspec.json.decode(entry.request or b"", type=dict[str, str])
    if "original_idempotency_key" in request:
        targets.add(request["original_idempotency_key"])
    return targets

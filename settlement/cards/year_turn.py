"""The turn of the insurance year as a job: a whole file judged first, then persons in batches, then what came late."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import asyncpg

from settlement.businessdate import business_date
from settlement.cards.credit_file import Advance, CreditFile, Key, refuse
from settlement.cards.vault import Vault
from settlement.clock import Clock
from settlement.db.pool import Connection
from settlement.db.queries import load_queries
from settlement.ids import IdSource
from settlement.ledger.years import BATCH, Opened, Opening, YearBook
from settlement.security import Personal

SQL = load_queries("settlement.cards", "sql/cards.sql")
TRIES = 5
"""How often a batch is tried while somebody else holds the lock of one of its persons for long."""

T = TypeVar("T")

_TRY_AGAIN_S = 1.0
_NOBODY = {
    "id_number": "nobody is registered under this ID number",
    "card_number": "no card of this number is registered",
}


class YearRefused(Exception):
    """This year cannot be opened now; nothing was changed."""


@dataclass(slots=True)
class Turn:
    """What a run has to do: the persons of the file whose year is to be opened, and everybody else if asked for.

    ``lines``: the line of each opening · ``known``: persons of the file who are open with this credit already ·
    ``others``: how many persons more · ``rolled_fen``: what would be carried over, as the accounts stand.
    """

    year: int
    began_at: dt.datetime
    openings: list[Opening] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    known: int = 0
    others: int = 0
    rolled_fen: int = 0

    @property
    def credited_fen(self) -> int:
        """What would be credited in all."""
        return sum(item.credit_fen for item in self.openings)


@dataclass(slots=True)
class Turned:
    """What a run did. ``problems``: persons of the file whom somebody else opened meanwhile, with another credit."""

    of_file: int = 0
    others: int = 0
    rolled_fen: int = 0
    credited_fen: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Swept:
    """Money of older years that came back after the turn: of how many persons, and how much was carried over (fen)."""

    persons: int = 0
    rolled_fen: int = 0


class YearTurn:
    """Turns the year. Each batch is one transaction; a run that was broken off is begun again, and goes on by itself.

    ``cut_over``: of the business date, local time in Shanghai.
    """

    def __init__(
        self, connection: Connection, personal: Personal, clock: Clock, ids: IdSource, cut_over: dt.time
    ) -> None:
        self._connection = connection
        self._vault = Vault(personal)
        self._clock = clock
        self._ids = ids
        self._cut_over = cut_over
        self.book = YearBook(connection)

    def today(self) -> dt.date:
        """The open business date."""
        return business_date(self._clock.now(), self._cut_over)

    async def prepare(
        self, year: int, newest: int, file: CreditFile | None, *, others: bool, advance: Advance | None = None
    ) -> Turn:
        """Judge everything, change nothing. ``newest``: the newest year that has begun; ``others``: also who is not in
        the file. Raises ``YearRefused``, ``CreditsRefused``.
        """
        began_at = await self._check_year(year, newest)
        turn = Turn(year, began_at)
        if file is not None:
            await self._judge(turn, file, advance)
        if others:
            unopened, turn.rolled_fen = await self.book.count_unopened(year)
            turn.others = unopened - len(turn.openings)
        return turn

    async def run(self, turn: Turn, reason: str, advance: Advance | None = None) -> Turned:
        """Open the year of these persons. ``reason``: kept with the credits; ``advance``: told of persons done."""
        done = Turned()
        for place in range(0, len(turn.openings), BATCH):
            page = turn.openings[place : place + BATCH]
            opened = await self._open(turn, page, reason, done, advance)
            done.of_file += _count(opened)
            for line, each in zip(turn.lines[place : place + BATCH], opened, strict=True):
                if each.outcome not in ("opened", "known"):
                    done.problems.append(f"line {line}: {_words(turn.year, each)}")
        if turn.others > 0:
            async for persons in self._unopened(turn.year):
                items = [Opening(person, self._ids.uuid(), 0) for person in persons]
                done.others += _count(await self._open(turn, items, reason, done, advance))
        return done

    async def sweep(
        self, year: int, before: dt.datetime, *, try_only: bool = False, advance: Advance | None = None
    ) -> Swept:
        """Carry over what bills of older years gave back since the year was opened, for persons opened ``before``."""
        done, after = Swept(), 0
        while page := await self.book.opened(year, before, after):
            after = page[-1]
            found = await self.book.remainders(year, page)
            if found and not try_only:
                items = [(person, self._ids.uuid()) for person in found]
                found = await self._patiently(partial(self._sweep, year, items))
            done.persons += len(found)
            done.rolled_fen += sum(found.values())
            if advance is not None:
                advance(len(page))
        return done

    async def _check_year(self, year: int, newest: int) -> dt.datetime:
        """When the turn to this year began: now, if it did not."""
        standing, began_at = await self.book.standing(year)
        if year > newest:
            raise YearRefused(f"the insurance year {year} has not begun; the newest that has is {newest}")
        if standing is None and year < newest - 1:
            raise YearRefused(f"no year was opened here yet and {year} is over; begin with {newest - 1} or {newest}")
        if standing is not None and year < standing:
            raise YearRefused(f"the accounts are in {standing} already; {year} cannot be opened any more")
        if standing is not None and year > standing + 1:
            raise YearRefused(f"the accounts are in {standing}; the next year is {standing + 1}, not {year}")
        return began_at or self._clock.now()

    async def _judge(self, turn: Turn, file: CreditFile, advance: Advance | None) -> None:
        """Find the persons of a file, and what would become of each."""
        problems = []
        persons = await self._resolve(file, advance)
        for place in range(0, len(persons), BATCH):
            credits_ = file.credits[place : place + BATCH]
            items = [
                Opening(person, self._ids.uuid(), credit.amount_fen)
                for credit, person in zip(credits_, persons[place : place + BATCH], strict=True)
            ]
            judged = await self.book.judge(turn.year, items)
            for credit, item, each in zip(credits_, items, judged, strict=True):
                if each.outcome == "open":
                    turn.openings.append(item)
                    turn.lines.append(credit.line)
                    turn.rolled_fen += each.rolled_fen
                elif each.outcome == "known":
                    turn.known += 1
                else:
                    problems.append(f"line {credit.line}: {_words(turn.year, each)}")
        refuse(problems)

    async def _resolve(self, file: CreditFile, advance: Advance | None) -> list[int]:
        """The person of each line; no two lines name the same one."""
        line_of: dict[int, int] = {}
        persons, problems = [], []
        for begin in range(0, len(file.credits), BATCH):
            page = file.credits[begin : begin + BATCH]
            found = await self._find(file.key, [credit.number for credit in page])
            for place, credit in enumerate(page):
                person = found.get(place)
                if person is None:
                    problems.append(f"line {credit.line}: {_NOBODY[file.key]}")
                elif person in line_of:
                    problems.append(f"line {credit.line}: the same person as line {line_of[person]}")
                else:
                    line_of[person] = credit.line
                    persons.append(person)
            if advance is not None:
                advance(len(page))
        refuse(problems)
        return persons

    async def _find(self, key: Key, numbers: Sequence[str]) -> dict[int, int]:
        """Place in ``numbers`` → person."""
        index = self._vault.index_id_number if key == "id_number" else self._vault.index_card_number
        rows = await self._connection.fetch(SQL[f"find_by_{key}"], [index(number) for number in numbers])
        return {row["ord"] - 1: row["person_id"] for row in rows}

    async def _open(
        self, turn: Turn, items: list[Opening], reason: str, done: Turned, advance: Advance | None
    ) -> list[Opened]:
        opened = await self._patiently(
            lambda: self.book.open(
                turn.year,
                items,
                reason=reason,
                began_at=turn.began_at,
                posting_date=self.today(),
                now=self._clock.now(),
            )
        )
        now_open = [each for each in opened if each.outcome == "opened"]
        done.rolled_fen += sum(each.rolled_fen for each in now_open)
        done.credited_fen += sum(each.credited_fen for each in now_open)
        if advance is not None:
            advance(len(items))
        return opened

    async def _sweep(self, year: int, items: list[tuple[int, uuid.UUID]]) -> dict[int, int]:
        return await self.book.sweep(year, items, posting_date=self.today(), now=self._clock.now())

    async def _patiently(self, batch: Callable[[], Awaitable[T]]) -> T:
        """A batch that met a lock did nothing; it is tried again, each time with a new moment."""
        for _ in range(TRIES - 1):
            try:
                return await batch()
            except asyncpg.LockNotAvailableError:
                await self._clock.sleep(_TRY_AGAIN_S)
        return await batch()

    async def _unopened(self, year: int) -> AsyncIterator[list[int]]:
        after = 0
        while page := await self.book.unopened(year, after):
            yield page
            after = page[-1]


def _count(opened: Sequence[Opened]) -> int:
    return sum(each.outcome == "opened" for each in opened)


def _words(year: int, opened: Opened) -> str:
    if opened.outcome == "differs":
        stands = f"{opened.credited_fen // 100}.{opened.credited_fen % 100:02d}"
        return (
            f"this person's {year} was opened with {stands} yuan, and that stands; "
            "book a difference with `settlement cards credit`"
        )
    return f"this person is in a later year than {year}" if opened.outcome == "later" else "this person has no accounts"

"""``settlement accounts open-year`` over a real database: judged whole, done once, gone on with after a crash."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from click.testing import CliRunner, Result

from settlement.bootstrap import Base, open_base, prepare_installation
from settlement.businessdate import SHANGHAI
from settlement.cards.credit_file import read_credits
from settlement.cards.issuing import issue_virtual
from settlement.cards.year_turn import YearTurn
from settlement.cli.main import main
from settlement.clock import SystemClock
from settlement.config import Settings
from settlement.ledger import years
from settlement.ledger.verify import verify_ledger
from tests.support.cards import new_id_number
from tests.support.database import TestDatabases
from tests.support.ledger_world import LedgerWorld, line

TODAY = SystemClock().now().astimezone(SHANGHAI).date()
YEAR = TODAY.year - ((TODAY.month, TODAY.day) < (7, 1))
ACCOUNTS = """select current_year_posted_fen, carried_over_posted_fen, opened_year from insurance_accounts
              where person_id = $1"""


class Office:
    """An installation of its own, persons in it, and files of credits."""

    def __init__(self, settings: Settings, base: Base, folder: Path) -> None:
        self.settings, self.base, self.folder = settings, base, folder
        self.pool = base.pool

    async def run(self, *arguments: str) -> Result:
        command = ["accounts", "open-year", *arguments]
        return await asyncio.to_thread(CliRunner().invoke, main, command, obj=self.settings, catch_exceptions=False)

    async def persons(self, count: int, credit_fen: int = 0) -> dict[int, str]:
        """New persons with so much on the current-year account: person → ID number."""
        made = {}
        for _ in range(count):
            number = new_id_number()
            made[await self.base.cards.register_person("张建国", number)] = number
        if credit_fen:
            await self.pool.execute(
                """select credit_account(p, gen_random_uuid(), 'current_year', $2, 'test', $3, now())
                   from unnest($1::bigint[]) p""",
                list(made),
                credit_fen,
                TODAY,
            )
        return made

    def file(self, *rows: str, header: str = "id_number,amount") -> str:
        path = self.folder / "credits.csv"
        path.write_text("\n".join((header, *rows, "")), encoding="utf-8")
        return str(path)

    async def accounts(self, person: int) -> tuple[int, int, int | None]:
        """Current year and carried over, posted (fen), and the year they are in."""
        return tuple(await self.pool.fetchrow(ACCOUNTS, person))

    async def opened(self) -> int:
        found: int = await self.pool.fetchval("select count(*) from account_year")
        return found


@pytest.fixture
async def office(database: TestDatabases, tmp_path: Path) -> AsyncIterator[Office]:
    """Its books are verified at the end."""
    dsn = await database.create()
    settings = Settings(database_url=dsn, data_dir=tmp_path, db_pool_min=0, db_pool_max=1)
    prepare_installation(settings, SystemClock())
    async with open_base(settings) as base:
        yield Office(settings, base, tmp_path)
        assert (await verify_ledger(base.pool)).violations == []
    await database.drop(dsn)


def rows(persons: dict[int, str], amount: str = "1200.00") -> list[str]:
    return [f"{number},{amount}" for number in persons.values()]


async def test_a_file_is_applied_once_and_the_rest_follows(office: Office) -> None:
    persons = await office.persons(3, 1_000)
    others = await office.persons(2, 30)
    file = office.file(*rows(persons))
    digest = hashlib.sha256("\n".join(("id_number,amount", *rows(persons), "")).encode()).hexdigest()
    told = f"credits.csv: 3 persons, 3600.00 yuan, SHA-256 {digest}"
    first = await office.run(str(YEAR), file)
    assert first.exit_code == 0, first.output
    assert first.stdout.splitlines() == [
        told,
        f"year {YEAR} opened for 3 persons of the file and 0 others (0 of the file were done before);"
        " 30.00 yuan carried over, 3600.00 yuan credited",
        "come back late: 0.00 yuan of 0 persons carried over",
    ]
    assert [await office.accounts(each) for each in persons] == [(120_000, 1_000, YEAR)] * 3
    assert [await office.accounts(each) for each in others] == [(30, 0, None)] * 2
    reason = await office.pool.fetchval("select distinct reason from account_credit where amount_fen = 120000")
    assert reason == f"insurance year {YEAR}, file {digest[:16]}"

    again = await office.run(str(YEAR), file, "--all")
    assert (
        f"year {YEAR} opened for 0 persons of the file and 2 others (3 of the file were done before);"
        " 0.60 yuan carried over, 0.00 yuan credited" in again.stdout
    )
    third = await office.run(str(YEAR), file, "--all")
    assert "opened for 0 persons of the file and 0 others (3 of the file" in third.stdout
    assert [await office.accounts(each) for each in persons] == [(120_000, 1_000, YEAR)] * 3
    assert [await office.accounts(each) for each in others] == [(0, 30, YEAR)] * 2


async def test_persons_are_named_by_their_card_too(office: Office) -> None:
    number = new_id_number()
    card = await issue_virtual(
        office.base.cards,
        office.base.authorities.card,
        office.base.keys,
        name="张建国",
        id_number=number,
        kind="third_generation",
        bank_code="ICBC",
        activate=None,
    )
    person = await office.base.cards.register_person("张建国", number)
    file = office.file(f"{card.card_number.lower()},0.05", header="card_number,amount")
    assert (await office.run(str(YEAR), file)).exit_code == 0
    assert await office.accounts(person) == (5, 0, YEAR)


async def test_trying_changes_nothing(office: Office) -> None:
    persons = await office.persons(3, 1_000)
    tried = await office.run(str(YEAR), office.file(*rows(dict(list(persons.items())[:2]))), "--all", "--dry-run")
    assert (
        f"year {YEAR} would be opened for 2 persons of the file and 1 others (0 of the file were done before);"
        " 30.00 yuan carried over, 2400.00 yuan credited; nothing was written" in tried.stdout
    )
    assert await office.opened() == 0


BAD = {
    "{0},1200": "line 3: amount must be yuan with two decimals, such as 1200.00, not '1200'",
    "{0},1200.0": "line 3: amount must be yuan with two decimals",
    "{0},-1.00": "line 3: amount must be yuan with two decimals",
    "{0},1e3": "line 3: amount must be yuan with two decimals",
    "{0},١٢.٠٠": "line 3: amount must be yuan with two decimals",
    "{0},9999999999.00": "line 3: amount must be 1000000000.00 yuan at most",
    "{0},1.00,x": "line 3: there must be 2 fields, id_number and amount, not 3",
    "310101198001011234,1.00": "line 3: id_number: the last character does not fit the digits before it",
    "{0}5,1.00": "line 3: id_number: must be 17 digits and a digit or X",
    "{1},1.00": "line 3: nobody is registered under this ID number",
    "{2},1.00": "line 3: the same person as line 2",
    '{0},"1.00': "line 3: this is not CSV",
}


@pytest.mark.parametrize("row", BAD)
async def test_where_a_line_is_wrong_nothing_is_changed(office: Office, row: str) -> None:
    first, other = (await office.persons(2)).values()
    refused = await office.run(str(YEAR), office.file(f"{first},1.00", row.format(other, new_id_number(), first)))
    assert refused.exit_code == 1
    assert BAD[row] in refused.output
    assert "Traceback" not in refused.output
    assert first not in refused.output
    assert await office.opened() == 0


async def test_every_wrong_line_is_named_up_to_a_bound(office: Office) -> None:
    refused = await office.run(str(YEAR), office.file(*[f"x{number},1.00" for number in range(25)]))
    lines = refused.stderr.split("cannot be used\n")[1].splitlines()
    assert [each.split(":")[0] for each in lines[:-1]] == [f"line {number}" for number in range(2, 22)]
    assert lines[-1] == "and 5 more"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "line 1: the header must be id_number,amount or card_number,amount"),
        (b"id_number,amount\n", "there is nobody in it"),
        (b"id_number,amount\n\xb0\xa2,1.00\n", "line 2: this is not UTF-8"),
        (b"name,amount\nx,1.00\n", "line 1: the header must be"),
    ],
)
async def test_a_file_that_is_none_is_refused(office: Office, data: bytes, words: str) -> None:
    path = office.folder / "odd.csv"
    path.write_bytes(data)
    refused = await office.run(str(YEAR), str(path))
    assert (refused.exit_code, words in refused.output) == (1, True), refused.output


async def test_another_amount_for_who_is_open_is_refused_and_nobody_is_opened(office: Office) -> None:
    persons = await office.persons(2)
    (done, number), (_, new) = persons.items()
    assert (await office.run(str(YEAR), office.file(f"{number},1200.00"))).exit_code == 0
    refused = await office.run(str(YEAR), office.file(f"{new},1.00", f"{number},1300.00"))
    assert refused.exit_code == 1
    assert f"line 3: this person's {YEAR} was opened with 1200.00 yuan, and that stands" in refused.stderr
    assert await office.opened() == 1
    assert await office.accounts(done) == (120_000, 0, YEAR)


async def test_only_the_next_year_is_opened(office: Office) -> None:
    await office.persons(1)

    async def refusal(year: int) -> str:
        return (await office.run(str(year), "--all")).stderr

    assert f"the insurance year {YEAR + 1} has not begun; the newest that has is {YEAR}" in await refusal(YEAR + 1)
    assert f"no year was opened here yet and {YEAR - 2} is over; begin with" in await refusal(YEAR - 2)
    assert (await office.run(str(YEAR - 1), "--all")).exit_code == 0
    assert (await office.run(str(YEAR), "--all")).exit_code == 0
    assert f"the accounts are in {YEAR} already; {YEAR - 1} cannot be opened any more" in await refusal(YEAR - 1)
    await office.pool.execute("alter table insurance_accounts disable trigger opened_year_guard")
    await office.pool.execute("update insurance_accounts set opened_year = $1", YEAR - 3)
    try:
        assert f"the accounts are in {YEAR - 3}; the next year is {YEAR - 2}, not {YEAR}" in await refusal(YEAR)
    finally:
        await office.pool.execute("update insurance_accounts set opened_year = $1", YEAR)


async def test_who_was_left_out_of_a_year_goes_on_in_the_next(office: Office) -> None:
    (person, number), _ = (await office.persons(2, 70)).items()
    assert (await office.run(str(YEAR - 1), office.file(f"{number},1.00"))).exit_code == 0
    assert (await office.run(str(YEAR), "--all")).exit_code == 0
    assert await office.accounts(person) == (0, 170, YEAR)
    assert await office.accounts(person + 1) == (0, 70, YEAR)


async def test_what_to_do_must_be_said(office: Office) -> None:
    for arguments in ((), ("--all", "--sweep"), ("--dry-run",)):
        assert (await office.run(str(YEAR), *arguments)).exit_code == 2


async def test_two_runs_at_once_are_one(office: Office) -> None:
    other = await asyncpg.connect(office.settings.database_url)
    await other.execute("select pg_advisory_lock($1)", years._LOCK_KEY)
    refused = await office.run(str(YEAR), "--all")
    await other.close()
    assert (refused.exit_code, "another run of this command is under way" in refused.stderr) == (1, True)
    assert (await office.run(str(YEAR), "--all")).exit_code == 0


async def test_a_person_who_is_locked_for_a_while_is_waited_for(office: Office) -> None:
    await office.persons(1)
    other = await asyncpg.connect(office.settings.database_url)
    async with other.transaction():
        await other.execute("select lock_persons(array(select person_id from insurance_accounts))")
        running = asyncio.create_task(office.run(str(YEAR), "--all"))
        await asyncio.sleep(3)  # longer than lock_timeout
        assert not running.done()
    await other.close()
    assert "opened for 0 persons of the file and 1 others" in (await running).stdout


async def test_a_person_who_stays_locked_breaks_the_run_off_and_it_goes_on(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("settlement.cards.year_turn.TRIES", 1)
    await office.persons(1)
    other = await asyncpg.connect(office.settings.database_url)
    async with other.transaction():
        await other.execute("select lock_persons(array(select person_id from insurance_accounts))")
        broken = await office.run(str(YEAR), "--all")
    await other.close()
    assert broken.exit_code == 1
    assert "broken off: the database is locked by somebody else (lock_timeout); give the same command again" in (
        broken.stderr
    )
    assert "opened for 0 persons of the file and 1 others" in (await office.run(str(YEAR), "--all")).stdout


async def test_a_connection_that_is_lost_is_told_and_the_run_goes_on(office: Office) -> None:
    await office.persons(1)
    other = await asyncpg.connect(office.settings.database_url)
    async with other.transaction():
        await other.execute("select lock_persons(array(select person_id from insurance_accounts))")
        running = asyncio.create_task(office.run(str(YEAR), "--all"))
        while not (victim := await other.fetchval("select pid from pg_locks where not granted")):
            await asyncio.sleep(0.01)
        await other.execute("select pg_terminate_backend($1)", victim)
        broken = await running
    await other.close()
    assert broken.exit_code == 1
    assert "broken off: the database cannot be reached; give the same command again" in broken.stderr
    assert "opened for 0 persons of the file and 1 others" in (await office.run(str(YEAR), "--all")).stdout


async def test_money_that_comes_back_late_is_carried_over_by_the_next_run(office: Office) -> None:
    world = LedgerWorld(office.pool)
    await world.prepare()
    person = await world.person(1_000)
    first, second = await world.hold(person, line(600), line(50, 2, "C")), await world.hold(person, line(900))
    assert (await office.run(str(YEAR), "--all")).exit_code == 0
    assert await office.accounts(person) == (1_000, 0, YEAR)
    await world.answer(first, "declined")
    tried = await office.run(str(YEAR), "--sweep", "--dry-run")
    assert tried.stdout == "come back late: 6.00 yuan of 1 persons would be carried over; nothing was written\n"
    swept = await office.run(str(YEAR), "--sweep")
    assert swept.stdout == "come back late: 6.00 yuan of 1 persons carried over\n"
    await world.answer(second, "declined")
    again = await office.run(str(YEAR), "--all")
    assert "come back late: 4.00 yuan of 1 persons carried over" in again.stdout
    assert (await office.run(str(YEAR), "--sweep")).stdout.startswith("come back late: 0.00 yuan of 0 persons")
    assert await office.accounts(person) == (0, 1_000, YEAR)


async def test_a_run_that_is_broken_off_between_batches_is_gone_on_with(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("settlement.cards.year_turn.BATCH", 2)
    persons = await office.persons(5, 10)
    file = read_credits(["id_number,amount", *rows(persons)])

    class Cut(Exception):
        pass

    def cut(_: int) -> None:
        raise Cut

    base = office.base
    async with office.pool.acquire() as connection:
        turn = YearTurn(connection, base.personal, base.clock, base.ids, base.settings.cut_over)
        planned = await turn.prepare(YEAR, YEAR, file, others=False)
        with pytest.raises(Cut):
            await turn.run(planned, "first", cut)
        assert await connection.fetchval("select count(*) from account_year") == 2
        planned = await turn.prepare(YEAR, YEAR, file, others=False)
        assert (len(planned.openings), planned.known) == (3, 2)
        done = await turn.run(planned, "second")
    assert (done.of_file, done.rolled_fen, done.credited_fen, done.problems) == (3, 30, 360_000, [])
    assert [await office.accounts(each) for each in persons] == [(120_000, 10, YEAR)] * 5


async def test_who_was_opened_by_somebody_else_meanwhile_is_named(office: Office) -> None:
    persons = await office.persons(2)
    base = office.base
    file = read_credits(["id_number,amount", *rows(persons)])
    async with office.pool.acquire() as connection:
        turn = YearTurn(connection, base.personal, base.clock, base.ids, base.settings.cut_over)
        planned = await turn.prepare(YEAR, YEAR, file, others=False)
        opening = years.Opening(next(iter(persons)), base.ids.uuid(), 7)
        await turn.book.open(
            YEAR, [opening], reason="x", began_at=base.clock.now(), posting_date=TODAY, now=base.clock.now()
        )
        done = await turn.run(planned, "late")
    assert done.of_file == 1
    assert done.problems == [
        f"line 2: this person's {YEAR} was opened with 0.07 yuan, and that stands;"
        " book a difference with `settlement cards credit`"
    ]


async def test_a_killed_run_leaves_whole_batches_and_is_gone_on_with(office: Office) -> None:
    """1,200 persons; the process is killed (-9) when the first batch is seen; nobody is opened twice or left out."""
    persons = await office.persons(1_200, 10)
    file = office.file(*rows(persons))
    environment = {
        **os.environ,
        "SETTLEMENT_DATABASE_URL": str(office.settings.database_url),
        "SETTLEMENT_DATA_DIR": str(office.folder),
    }
    command = (sys.executable, "-m", "settlement", "accounts", "open-year", str(YEAR), file)
    watcher = await asyncpg.connect(office.settings.database_url)
    # The second batch finds its first person locked, so that the process is seen alive between two batches.
    async with watcher.transaction():
        await watcher.execute("select lock_persons(array[$1::bigint])", sorted(persons)[700])
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.DEVNULL)
        while not await office.opened():
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
        # Its connection gives up the lock before it sees that nobody is there any more.
        while not await watcher.fetchval("select pg_try_advisory_lock($1)", years._LOCK_KEY):
            await asyncio.sleep(0.05)
    await watcher.close()
    assert await office.opened() == years.BATCH
    result = await office.run(str(YEAR), file)
    assert f"opened for 700 persons of the file and 0 others ({years.BATCH} of the file" in result.stdout, result.output
    kinds = await office.pool.fetch(
        "select distinct current_year_posted_fen, carried_over_posted_fen from insurance_accounts"
    )
    assert [tuple(each) for each in kinds] == [(120_000, 10)]
    assert await office.pool.fetchval("select count(*) from transfer where part = 'rollover'") == 1_200

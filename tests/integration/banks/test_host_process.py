"""The bank host as a process: its commands, its admin HTTP, and books that survive a crash."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner

from settlement.banks.port import BankOutcome
from settlement.childprocess import ChildError
from settlement.stubs.bankhost.__main__ import bank_host
from settlement.stubs.bankhost.client import AdminError, BankHostAdmin
from settlement.stubs.bankhost.command import ZONE_MASTER_VARIABLE
from settlement.stubs.bankhost.process import BankHostProcess
from settlement.stubs.bankhost.wire import AccountSpec, FaultSpec

APPROVED, UNKNOWN = BankOutcome.APPROVED, BankOutcome.UNKNOWN
START_FEN = 10_000_000


async def test_a_crash_after_the_commit_leaves_exactly_one_debit(make_process_world, wait_until) -> None:
    world = await make_process_world()
    await world.fault("delay_ms", delay_ms=60_000, mti="0200")
    order = world.order()
    debit = asyncio.create_task(world.links.debit(order, world.soon))
    await wait_until(lambda: world.books(state="live"))
    await world.process.kill()
    answer = await debit
    assert (answer.outcome, answer.detail) == (UNKNOWN, "closed")

    await world.process.start()
    await wait_until(lambda: world.state().ready)
    asked = await world.links.inquire(world.order(original=order), world.soon)
    again = await world.links.debit(order, world.soon)
    assert (asked.outcome, again.outcome) == (APPROVED, APPROVED)
    assert again.authorisation == asked.authorisation
    assert len(await world.books()) == 1
    assert await world.balance() == START_FEN - 1_000


async def test_a_crash_before_the_commit_leaves_no_debit(make_process_world, wait_until) -> None:
    world = await make_process_world()
    await world.fault("delay_ms", delay_ms=60_000, when="before_commit", mti="0200")
    order = world.order()
    debit = asyncio.create_task(world.links.debit(order, world.soon))
    await wait_until(lambda: _played(world))
    await world.process.kill()
    assert (await debit).outcome is UNKNOWN

    await world.process.start()
    await wait_until(lambda: world.state().ready)
    assert (await world.links.inquire(world.order(original=order), world.soon)).outcome is BankOutcome.NOT_FOUND
    assert await world.balance() == START_FEN


async def _played(world) -> int:
    return sum(fault.played for fault in await world.admin.faults())


async def test_what_was_answered_before_a_crash_under_load_is_in_the_books(make_process_world, wait_until) -> None:
    world = await make_process_world()
    orders = [world.order(1 + number) for number in range(400)]
    limit = asyncio.Semaphore(50)
    answered = 0

    async def debit(order):
        nonlocal answered
        async with limit:
            answer = await world.links.debit(order, world.soon)
            answered += answer.outcome is APPROVED
            return answer

    tasks = [asyncio.create_task(debit(order)) for order in orders]
    await wait_until(lambda: answered > 100)
    await world.process.kill()
    answers = await asyncio.gather(*tasks)
    await world.process.start()
    await wait_until(lambda: world.state().ready)

    live = {item.identity.reference: item for item in await world.books(state="live")}
    approved = [(order, answer) for order, answer in zip(orders, answers, strict=True) if answer.outcome is APPROVED]
    assert len(approved) > 100
    for order, answer in approved:
        item = live[order.identity.reference]
        assert (item.amount_fen, item.authorisation) == (order.amount_fen, answer.authorisation)
    never = [
        order.identity.reference
        for order, answer in zip(orders, answers, strict=True)
        if answer.outcome is BankOutcome.NOT_SENT
    ]
    assert not live.keys() & set(never)
    assert await world.balance() == START_FEN - sum(item.amount_fen for item in live.values())
    assert all(summary.balanced for summary in await world.admin.summaries())


async def test_a_tombstone_and_a_moved_business_day_survive_a_crash(make_process_world, wait_until) -> None:
    world = await make_process_world()
    order = world.order()
    await world.links.reverse(world.order(original=order), world.soon)
    dates = await world.admin.cut_over()
    await world.process.kill()
    await world.process.start()
    await wait_until(lambda: world.state().ready)

    late = await world.links.debit(order, world.soon)
    assert late.response_code == "12"
    (summary,) = await world.admin.summaries()
    assert summary.business_date.isoformat() == dates["BOSC"]
    assert summary.tombstones == 1


async def test_sigterm_stops_it_cleanly_and_a_second_start_has_the_books(make_process_world) -> None:
    world = await make_process_world(banks=("ICBC", "CCB"))
    await world.links.debit(world.order(bank="ICBC"), world.soon)
    ports = dict(world.process.ports)
    assert await world.process.stop() == 0
    assert not world.process.running
    await world.process.start()
    assert world.process.ports == ports
    assert await world.balance("ICBC") == START_FEN - 1_000


async def test_it_ends_when_its_parent_does(tmp_path: Path, wait_until) -> None:
    """The parent is killed; the child's standard input ends with it."""
    script = (
        "import asyncio, sys, pathlib, time\n"
        "from settlement.stubs.bankhost.process import BankHostProcess\n"
        "async def main():\n"
        "    host = BankHostProcess(pathlib.Path(sys.argv[1]), bytes(16), banks=['BOSC'])\n"
        "    await host.start()\n"
        "    print(host.pid, flush=True)\n"
        "    time.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    pid = int(await parent.stdout.readline())
    parent.kill()
    await parent.communicate()
    await wait_until(lambda: not _lives(pid))


def _lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has collected yet does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


async def test_the_ready_line_is_json_and_the_only_output(tmp_path: Path) -> None:
    environ = {**os.environ, ZONE_MASTER_VARIABLE: "00" * 16}
    arguments = ["--bank", "CMB", "--bank", "SWITCH", "--data-dir", str(tmp_path), "--free-ports", "--admin-port", "0"]
    host = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "settlement.stubs.bankhost", *arguments, stdout=asyncio.subprocess.PIPE, env=environ
    )
    ready = json.loads(await host.stdout.readline())
    host.send_signal(signal.SIGTERM)
    rest, _ = await host.communicate()
    assert (ready["ready"], set(ready["ports"])) == (True, {"CMB", "SWITCH"})
    assert (host.returncode, rest) == (0, b"")


async def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    host = BankHostProcess(tmp_path, secrets.token_bytes(16), banks=["NOBANK"])
    with pytest.raises(ChildError, match="no such bank: NOBANK"):
        await host.start()


@pytest.mark.parametrize(
    ("arguments", "environ", "message"),
    [
        ([], {}, ZONE_MASTER_VARIABLE),
        ([], {ZONE_MASTER_VARIABLE: "xyz"}, "32 hex digits"),
        (["--bank", "HSBC"], {ZONE_MASTER_VARIABLE: "00" * 16}, "no such bank: HSBC"),
        (["--port", "ICBC"], {ZONE_MASTER_VARIABLE: "00" * 16}, "CODE=PORT"),
        (["--directory", "/nowhere.toml"], {ZONE_MASTER_VARIABLE: "00" * 16}, r"/nowhere.toml"),
    ],
)
def test_wrong_options_are_named(arguments: list[str], environ: dict[str, str], message: str) -> None:
    result = CliRunner().invoke(bank_host, arguments, env={ZONE_MASTER_VARIABLE: None, **environ})
    assert result.exit_code != 0
    assert message in result.output


async def test_accounts_come_and_change_over_http(world) -> None:
    pan = "6222020000000000001"
    await world.admin.put_accounts([AccountSpec(bank="BOSC", pan=pan, balance_fen=500, daily_limit_fen=7)])
    await world.admin.put_accounts([AccountSpec(bank="BOSC", pan=pan, state="frozen")])
    account = await world.admin.account("BOSC", pan)
    assert (account.balance_fen, account.daily_limit_fen, account.state) == (500, 7, "frozen")
    assert (account.has_pin, account.no_pin_limit_fen) == (False, 100_000)
    await world.admin.put_accounts([AccountSpec(bank="BOSC", pan=pan, balance_fen=9)], only_new=True)
    assert (await world.admin.account("BOSC", pan)).balance_fen == 500


async def test_all_pages_of_the_books_are_walked(world) -> None:
    for _ in range(13):
        answers = await asyncio.gather(*(world.links.debit(world.order(1), world.soon) for _ in range(100)))
        assert {answer.outcome for answer in answers} == {APPROVED}
    items = await world.books()
    assert [item.id for item in items] == sorted({item.id for item in items})
    assert len(items) == 1_300
    assert len([row async for row in world.admin.log("BOSC")]) == 2_600 + 4


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/accounts", b"{", 400),
        ("POST", "/accounts", b'{"accounts": []}', 422),
        ("POST", "/accounts", b'{"accounts": [{"bank": "BOSC", "pan": "622202000000001", "balance_fen": -1}]}', 422),
        ("POST", "/accounts", b'{"accounts": [{"bank": "HSBC", "pan": "622202000000001"}]}', 404),
        ("POST", "/faults", b'{"action": "explode"}', 422),
        ("POST", "/faults", b'{"action": "answer_code"}', 422),
        ("POST", "/faults", b'{"action": "close", "bank": "HSBC"}', 404),
        ("GET", "/books", None, 404),
        ("GET", "/books?bank=BOSC&after=-1", None, 422),
        ("GET", "/accounts?bank=BOSC&pan=1", None, 404),
        ("GET", "/log?bank=BOSC&limit=99999", None, 422),
    ],
)
async def test_bad_requests_are_refused(world, method: str, path: str, body: bytes | None, status: int) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, world.service.admin_url + path, data=body) as response,
    ):
        assert response.status == status
        assert (await response.json())["error"]["code"]


async def test_the_client_raises_what_the_admin_says(world) -> None:
    with pytest.raises(AdminError) as refused:
        await world.admin.account("HSBC", "1")
    assert (refused.value.status, refused.value.code) == (404, "NO_SUCH_BANK")


async def test_the_page_shows_banks_messages_and_faults_without_card_numbers(world) -> None:
    order = world.order()
    await world.links.debit(order, world.soon)
    await world.admin.add_fault(FaultSpec(action="garbage", bank="BOSC"))
    async with aiohttp.ClientSession() as session, session.get(world.service.admin_url + "/") as response:
        text = await response.text()
    assert "上海银行" in text
    assert order.identity.reference in text
    assert "garbage" in text
    assert order.pan not in text
    assert [fault.spec.action for fault in await world.admin.faults()] == ["garbage"]
    assert await world.admin.healthy()


async def test_a_host_that_is_away_is_not_healthy() -> None:
    async with BankHostAdmin("http://127.0.0.1:9") as admin:
        assert not await admin.healthy()

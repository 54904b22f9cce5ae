"""A network that is down: what is owed is queued, shown and sent later; refunds; SIGTERM; power cut at print."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.till.conftest import LINE, NewTill, TillProgram, finished
from tests.integration.till.keyboard import CTRL_C
from tests.integration.till.test_doubt import begun, lose_the_banks_answer


@contextlib.contextmanager
def network_down(till: TillProgram) -> Iterator[None]:
    """The till's address of the service leads nowhere."""
    settings = till.home / "till.toml"
    good = settings.read_text(encoding="utf-8")
    settings.write_text(good.replace(till.service.base_url, "http://127.0.0.1:9"), encoding="utf-8")
    yield
    settings.write_text(good, encoding="utf-8")


async def test_a_reversal_is_queued_shown_and_forwarded(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=600, bank_fen=9_000)
    assert (await till.run("waiting")).code == 0
    assert (await till.settle("ORDER-1")).code == 0
    assert (await till.run("waiting", "--json")).json == {"waiting": []}
    with network_down(till):
        queued = await till.run("reverse", "--last", "--yes", "--wait", "0")
        assert queued.code == 13, queued.err
        assert "it is queued; settlement-terminal forward sends it" in queued.out
        shown = await till.run("waiting")
        assert shown.code == 14
        assert "to be sent to the service" in shown.out
        assert "The service cannot be reached." in shown.out
        still = await till.run("forward", "--once")
        assert still.code == 14
        (waits,) = (await till.run("waiting", "--json")).json["waiting"]
        assert (waits["need"], waits["operation"], waits["total_fen"]) == ("send", "reversal", 1_000)
        assert waits["visit_no"] == till.visit("ORDER-1")
        assert waits["tries"] >= 2
        assert waits["next_try_at"] > waits["tried_at"]
    assert await till.service.live_debits(till.card) == [400]
    sent = await till.run("forward", "--once", "--json")
    assert (sent.code, [each["outcome"] for each in sent.json["attempts"]]) == (0, ["reversed"])
    await till.service.until_final()
    assert await till.service.live_debits(till.card) == []
    (told,) = (await till.run("waiting", "--json")).json["waiting"]
    assert (told["need"], told["outcome"]) == ("hand_out", "reversal")
    assert "reversed, not paid" in (await till.run("journal", "recover")).out
    assert (await till.run("waiting")).code == 0


@pytest.mark.deep
async def test_the_forwarder_runs_until_it_is_told_to_end_and_there_is_one(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=2_000)
    assert (await till.settle("ORDER-1")).code == 0
    with network_down(till):
        assert (await till.run("reverse", "--last", "--yes", "--wait", "0")).code == 13
    process = await till.start("forward", "--json")
    assert process.stdout is not None
    async with asyncio.timeout(60):
        line = await process.stdout.readline()
    assert b'"outcome": "reversed"' in line
    second = await till.run("forward", "--once", "--json")
    assert (second.code, second.json["error"]["code"]) == (33, "forwarder_busy")
    process.terminate()
    done = await finished(process)
    assert (done.code, done.err.splitlines()[-1]) == (0, "nothing is owed 无待发送")


@pytest.mark.deep
async def test_killed_forwarders_leave_no_lock(new_till: NewTill) -> None:
    till = await new_till()
    process = await till.start("forward")
    assert process.stderr is not None
    async with asyncio.timeout(60):
        assert "forwarding" in (await process.stderr.readline()).decode()
    process.kill()
    await process.wait()
    assert (await till.run("forward", "--once")).code == 0


async def test_power_is_cut_while_the_receipt_prints(new_till: NewTill, tmp_path: Path) -> None:
    till = await new_till(current_year_fen=2_000)
    pipe = tmp_path / "printer"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4_096)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x")  # the printer is out of paper, and its buffer full
    process = await begun(till, "--printer", pipe)
    async with asyncio.timeout(60):
        while not [state for _, _, state in till.attempts() if state == "answered"]:
            await asyncio.sleep(0.02)
    process.kill()
    await process.wait()
    os.close(reader)
    os.close(writer)
    (waits,) = (await till.run("waiting", "--json")).json["waiting"]
    assert (waits["need"], waits["outcome"]) == ("hand_out", "settlement")
    recovered = await till.run("journal", "recover")
    assert recovered.code == 0
    assert "paid 已支付" in recovered.out
    assert "医保结算单" in recovered.out
    assert (await till.run("waiting")).code == 0


@pytest.mark.deep
async def test_a_bill_that_failed_to_print_waits_until_it_is_printed_or_taken_back(
    new_till: NewTill, tmp_path: Path
) -> None:
    till = await new_till(current_year_fen=9_000)
    nowhere = tmp_path / "no" / "printer"
    for number in range(2):
        assert (await till.settle(f"ORDER-{number}", "--printer", nowhere)).code == 0
    assert len((await till.run("waiting", "--json")).json["waiting"]) == 2
    assert (await till.run("receipt", "--last")).code == 0
    assert len((await till.run("waiting", "--json")).json["waiting"]) == 1
    back = await till.run("journal", "recover", "--paid", "reverse", "--json")
    assert [each["outcome"] for each in back.json["attempts"]] == ["reversed"]
    assert (await till.run("waiting")).code == 0
    assert await till.service.balances(till.card) == (8_000, 0)


async def test_sigterm_says_what_it_leaves(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=600, bank_fen=9_000)
    await lose_the_banks_answer(till)
    process = await begun(till)
    key = await till.until_at_the_bank()
    process.send_signal(signal.SIGTERM)
    done = await finished(process)
    assert done.code == 13, done
    assert f"the journal keeps {key}: it may be paid or not" in done.err
    assert "settlement-terminal journal recover finds out" in done.err


@pytest.mark.deep
async def test_sigterm_at_a_question_changes_nothing(new_till: NewTill) -> None:
    till = await new_till(bank_fen=9_000)
    process = await till.start("settle", "--visit", "ORDER-1", "--line", LINE, "--card", till.card_file, "--no-pin")
    assert process.stdout is not None
    async with asyncio.timeout(60):
        await process.stdout.readuntil(b"[y/N]:")
    process.send_signal(signal.SIGTERM)
    done = await finished(process)
    assert (done.code, till.attempts()) == (1, [])
    assert "Aborted" in done.err


async def test_lines_are_given_back_by_name(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=600, bank_fen=9_000)
    more = ("--line", "86900002:二甲双胍缓释片:B:20.00")
    paid = await till.settle("ORDER-1", *more, "--json")
    assert paid.code == 0, paid.err
    settlement_id = paid.json["settlement"]["settlement_id"]
    desk = till.at_keyboard("refund", "--last", "--line", "2:5.00", "--reason", "returned goods")
    await desk.until("确认退款")
    assert "2 B 二甲双胍缓释片" in desk.seen
    desk.type("y\n")
    assert await desk.end() == 0, desk.seen
    assert "given back 已退款" in desk.seen
    arguments = ("refund", "--id", settlement_id, "--line", "2", "--yes", "--refund-key", "refund-order-1")
    rest = await till.run(*arguments, "--json")
    assert (rest.code, rest.json["outcome"], rest.json["final"]) == (0, "refunded", True)
    assert rest.json["refund"]["returned"]["total_fen"] == 1_500
    assert rest.json["receipt"]["kind"] == "refund"
    again = await till.run(*arguments, "--json")
    assert again.json["refund"]["refund_id"] == rest.json["refund"]["refund_id"]
    more_than_left = await till.run("refund", "--id", settlement_id, "--line", "2:0.01", "--yes", "--json")
    assert (more_than_left.code, more_than_left.json["code"]) == (12, "REFUND_EXCEEDS_LINE")
    for wrong in ("9", "2:5", "zwei", "0"):
        assert (await till.run("refund", "--last", "--line", wrong, typed="n\n")).code == 2
    assert (await till.run("waiting")).code == 0


@pytest.mark.deep
async def test_a_refund_is_queued_and_forwarded_once(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=2_000)
    paid = await till.settle("ORDER-1", "--json")
    settlement_id = paid.json["settlement"]["settlement_id"]
    with network_down(till):
        queued = await till.run("refund", "--id", settlement_id, "--line", "1:4.00", "--yes", "--wait", "0")
        assert queued.code == 13, queued.err
        assert "do not ask for it anew" in queued.out
    sent = await till.run("forward", "--once", "--json")
    assert [each["outcome"] for each in sent.json["attempts"]] == ["refunded"]
    assert (await till.run("forward", "--once", "--json")).json == {"attempts": []}
    assert await till.service.balances(till.card) == (1_400, 0)


@pytest.mark.deep
async def test_ctrl_c_ends_the_forwarder(new_till: NewTill) -> None:
    till = await new_till()
    desk = till.at_keyboard("forward")
    await desk.until("补发中")
    desk.type(CTRL_C)
    assert await desk.end() == 0
    assert "nothing is owed" in desk.seen

"""Answers that do not come, Ctrl-C, kill -9: the journal keeps the attempt, says so, and brings it to an end."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from settlement.stubs.bankhost.wire import FaultSpec, Match
from tests.integration.till.conftest import LINE, PIN, NewTill, TillProgram, finished
from tests.integration.till.keyboard import CTRL_C


async def lose_the_banks_answer(till: TillProgram, action: str = "drop_after_commit") -> None:
    match = Match(mti="0200", pan=till.card.pan)
    await till.service.bank.add_fault(FaultSpec(action=action, bank=till.card.bank_code, match=match))  # type: ignore[arg-type]


def settle_arguments(till: TillProgram, visit: str) -> tuple[str, ...]:
    given = ("--visit", till.visit(visit), "--line", LINE, "--card", str(till.card_file))
    return ("settle", *given, "--yes", "--pin-stdin", "--wait", "0")


async def begun(till: TillProgram, *more: str | Path) -> asyncio.subprocess.Process:
    """A run that settles; its PIN is typed."""
    process = await till.start(*settle_arguments(till, "ORDER-1"), *more)
    assert process.stdin is not None
    process.stdin.write(f"{PIN}\n".encode())
    return process


async def test_killed_between_send_and_print_then_recovered(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=600, bank_fen=9_000)
    await lose_the_banks_answer(till)
    process = await begun(till)
    key = await till.until_at_the_bank()
    process.kill()
    assert await process.wait() == -signal.SIGKILL

    listed = await till.run("journal", "list", "--json")
    assert [each["idempotency_key"] for each in listed.json["attempts"]] == [key]
    next_start = await till.settle("ORDER-1")
    assert next_start.code == 31
    assert f"未决: {key} (settlement, sent)" in next_start.err
    recovered = await till.run("journal", "recover")
    assert recovered.code == 0, recovered.err
    assert "paid 已支付" in recovered.out
    assert "医保结算单" in recovered.out
    assert await till.service.live_debits(till.card) == [400]
    again = await till.run("journal", "recover", "--json")
    assert (again.code, again.json) == (0, {"attempts": []})
    assert (await till.run("status", "--last", "--json")).json["outcome"] == "settled"


async def test_not_yet_known_is_an_outcome_of_its_own(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=600, bank_fen=9_000, bank="SRCB")
    await lose_the_banks_answer(till, "drop_before_commit")
    given = ("--deadline", "16", "--json", "--wait")
    doubtful = await till.settle("ORDER-1", *given, "0")
    assert (doubtful.code, doubtful.json["outcome"], doubtful.json["final"]) == (13, "not_yet_known", False)
    assert doubtful.json["reason"] == "pending"
    assert doubtful.json["receipt"] is None
    key = doubtful.json["idempotency_key"]
    assert (await till.run("status", "--key", key, "--wait", "0")).code == 13
    turned = await till.run("status", "--last", "--json", "--wait", "60")
    assert (turned.code, turned.json["outcome"], turned.json["final"]) == (11, "reversed", True)
    assert await till.service.balances(till.card) == (600, 0)


async def test_ctrl_c_names_what_it_leaves(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=600, bank_fen=9_000)
    await lose_the_banks_answer(till)
    arguments = [each for each in settle_arguments(till, "ORDER-1") if each != "--pin-stdin"]
    desk = till.at_keyboard(*arguments)
    await desk.until("银行卡密码")
    desk.type(PIN + "\n")
    key = await till.until_at_the_bank()
    desk.type(CTRL_C)
    assert await desk.end() == 13
    assert f"the journal keeps {key}: it may be paid or not" in desk.seen
    assert "Traceback" not in desk.seen
    await till.service.until_final()
    status = await till.run("status", "--key", key, "--json")
    assert (status.code, status.json["outcome"]) == (0, "settled")


async def test_ctrl_c_at_a_question_changes_nothing(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=600, bank_fen=9_000)
    arguments = [each for each in settle_arguments(till, "ORDER-1") if each not in ("--pin-stdin", "--yes")]
    for question in ("是否同意支付", "银行卡密码"):
        desk = till.at_keyboard(*arguments)
        await desk.until("是否同意支付")
        if question == "银行卡密码":
            desk.type("y\n")
            await desk.until(question)
        assert await desk.interrupt_question() == 1
        assert "Traceback" not in desk.seen
    assert till.attempts() == []


async def test_a_service_that_is_gone_is_told_before_anything_is_written(new_till: NewTill) -> None:
    till = await new_till(bank_fen=9_000)
    settings = till.home / "till.toml"
    good = settings.read_text(encoding="utf-8")
    settings.write_text(good.replace(till.service.base_url, "http://127.0.0.1:9"), encoding="utf-8")
    done = await till.settle("ORDER-1", "--json")
    assert (done.code, till.attempts()) == (20, [])
    assert done.json["error"]["code"] == "service_unreachable"
    assert (await till.run("status", "--id", "0190-1")).code == 20
    settings.write_text(good, encoding="utf-8")
    assert (await till.settle("ORDER-1")).code == 0


async def test_a_suspended_terminal_may_not_sign_in(new_till: NewTill) -> None:
    till = await new_till(bank_fen=9_000)
    await till.service.base.terminals.suspend(till.terminal_id, "a test")
    done = await till.settle("ORDER-1")
    assert (done.code, till.attempts()) == (21, [])
    assert done.err.startswith("Error: TERMINAL_")


async def test_a_journal_that_cannot_be_used_stops_everything(new_till: NewTill) -> None:
    till, other = await new_till(bank_fen=9_000), await new_till()
    await other.run("journal", "list")
    (other.home / "journal.sqlite").replace(till.home / "journal.sqlite")
    done = await till.settle("ORDER-1", "--json")
    assert (done.code, done.json["error"]["code"]) == (30, "journal_error")
    assert f"belongs to terminal {other.terminal_id}" in done.err
    (till.home / "journal.sqlite").write_bytes(b"no database, but long enough to be looked at" * 40)
    assert (await till.run("journal", "list")).code == 30
    assert await till.service.live_debits(till.card) == []


async def test_two_runs_at_once_pay_once(new_till: NewTill) -> None:
    till = await new_till(bank_fen=9_000)
    runs = [await till.start(*settle_arguments(till, "ORDER-1"), "--key", "one-key-for-both") for _ in range(2)]
    ends = await asyncio.gather(*(finished(run, PIN + "\n") for run in runs))
    assert 0 in {end.code for end in ends}
    assert {end.code for end in ends} <= {0, 12, 13, 30, 31}, [end.err for end in ends]
    assert await till.service.live_debits(till.card) == [1_000]

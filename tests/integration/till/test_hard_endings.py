"""The exit code tells the outcome, whatever becomes of the screen, the journal, or the patience of who stands there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from settlement.stubs.bankhost.wire import FaultSpec, Match
from tests.integration.till.conftest import COMMAND, LINE, PIN, NewTill, TillProgram, finished


@contextlib.contextmanager
def unwritable(kind: str) -> Iterator[int]:
    """A descriptor that takes nothing: a full disk, or a pipe whose reader has gone."""
    if kind == "full":
        handle = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, handle = os.pipe()
        os.close(reader)
    try:
        yield handle
    finally:
        os.close(handle)


def given(till: TillProgram, visit: str) -> tuple[str, ...]:
    return ("settle", "--visit", till.visit(visit), "--line", LINE, "--card", str(till.card_file), "--yes")


@pytest.mark.parametrize("kind", ["full", "closed"])
@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
async def test_paid_is_paid_though_nobody_can_read_it(new_till: NewTill, kind: str, form: tuple[str, ...]) -> None:
    till = await new_till(current_year_fen=600, bank_fen=9_000)
    with unwritable(kind) as handle:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *given(till, "ORDER-1"),
            "--pin-stdin",
            *form,
            env={**os.environ, "SETTLEMENT_TERMINAL_HOME": str(till.home)},
            stdin=asyncio.subprocess.PIPE,
            stdout=handle,
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await process.communicate(f"{PIN}\n".encode())
    assert process.returncode == 0, err.decode()
    assert err.decode().count("Warning: standard output cannot be written") == 1
    assert len(err.decode().splitlines()) == 1
    assert await till.service.live_debits(till.card) == [400]


async def test_a_screen_without_chinese_shows_what_it_can_and_json_loses_nothing(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=600, bank_fen=9_000)
    till.environment["PYTHONIOENCODING"] = "cp1252"
    shown = await till.settle("ORDER-1")
    assert shown.code == 0, shown.err
    assert "paid ???" in shown.out
    as_json = await till.settle("ORDER-2", "--json")
    assert as_json.code == 0, as_json.err
    assert as_json.out.isascii()
    assert "医保结算单" in as_json.json["receipt"]["text"]


async def test_an_answer_that_cannot_be_journalled_is_told_in_one_line(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=600, bank_fen=9_000)
    late = FaultSpec(action="delay_ms", bank="ICBC", delay_ms=1_000, match=Match(mti="0200", pan=till.card.pan))
    await till.service.bank.add_fault(late)
    process = await till.start(*given(till, "ORDER-1"), "--pin-stdin")
    assert process.stdin is not None
    process.stdin.write(f"{PIN}\n".encode())
    key = await till.until_sent()
    with contextlib.closing(sqlite3.connect(till.home / "journal.sqlite", isolation_level=None)) as other:
        other.execute("begin immediate")
        done = await finished(process)
        other.execute("rollback")
    assert done.code == 0, done.err
    assert done.err == f"Warning: the answer to attempt {key} could not be written to the journal\n"
    assert till.attempts() == [(key, "settlement", "sent")]
    recovered = await till.run("journal", "recover", "--json")
    assert [each["outcome"] for each in recovered.json["attempts"]] == ["settled"]


@pytest.mark.parametrize("distance_ms", [1, 4, 10])
async def test_pressing_ctrl_c_again_and_again_hides_nothing(new_till: NewTill, distance_ms: int) -> None:
    till = await new_till(current_year_fen=600, bank_fen=9_000)
    lost = FaultSpec(action="drop_after_commit", bank="ICBC", match=Match(mti="0200", pan=till.card.pan))
    await till.service.bank.add_fault(lost)
    process = await till.start(*given(till, "ORDER-1"), "--pin-stdin")
    assert process.stdin is not None
    process.stdin.write(f"{PIN}\n".encode())
    key = await till.until_sent()
    while process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        await asyncio.sleep(distance_ms / 1000)
    done = await finished(process)
    assert done.code == 13, done
    assert f"the journal keeps {key}: it may be paid or not" in done.err
    assert done.err.count("\n") == 1


async def test_ctrl_c_once_a_reversal_is_accepted_ends_only_the_waiting(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=600, bank_fen=9_000)
    await till.settle("ORDER-1")
    deaf = Match(mti="0200", processing_code="200000", pan=till.card.pan)
    await till.service.bank.add_fault(FaultSpec(action="drop_before_commit", bank="ICBC", match=deaf))
    process = await till.start("reverse", "--last", "--yes", "--wait", "60", "--json")
    async with asyncio.timeout(60):
        while ("reversal", "answered") not in {(operation, state) for _, operation, state in till.attempts()}:
            await asyncio.sleep(0.02)
    process.send_signal(signal.SIGINT)
    done = await finished(process)
    assert done.code == 0, done
    assert (done.json["outcome"], done.json["final"]) == ("reversed", False)


async def test_json_is_one_object_also_where_printing_fails(new_till: NewTill, tmp_path: Path) -> None:
    till = await new_till(current_year_fen=2_000)
    await till.settle("ORDER-1")
    failed = await till.run("receipt", "--last", "--json", "--printer", tmp_path / "missing" / "printer")
    assert failed.code == 40
    assert json.loads(failed.out)["error"]["exit_code"] == 40


async def test_another_ceiling_is_another_request(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=600, bank_fen=9_000)
    first = await till.settle("ORDER-1", "--key", "order-1-ceiling", "--ceiling", "5.00")
    again = await till.settle("ORDER-1", "--key", "order-1-ceiling", "--ceiling", "5.00")
    other = await till.settle("ORDER-1", "--key", "order-1-ceiling", "--ceiling", "9.00")
    assert (first.code, again.code, other.code) == (0, 0, 31), other.err

"""Keeping a real child process: killed, paused, and ended by itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chaos.database import over_link, socket_of
from chaos.keeper import Keeper
from chaos.processes import children
from settlement.childprocess import ChildProcess

PATIENCE_S = 20.0
PARENT = """
import json, subprocess, sys, threading, time

def keep():
    while True:
        subprocess.run(["sleep", "60"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

for _ in range(2):
    threading.Thread(target=keep, daemon=True).start()
print(json.dumps({"ready": True}), flush=True)
sys.stdin.read()
"""
PROGRAM = "import sys, json; print(json.dumps({'ready': True}), flush=True); sys.stdin.read()"


class Simple(ChildProcess):
    """Ready at once; ends with its standard input. The first ``bad_starts`` starts fail."""

    def __init__(self, folder: Path, program: str) -> None:
        super().__init__(folder / "child.log", start_timeout_s=PATIENCE_S)
        self.bad_starts = 0
        self._program = program

    async def start(self) -> None:
        program = self._program
        if self.bad_starts:
            self.bad_starts, program = self.bad_starts - 1, "raise SystemExit(3)"
        await self.launch([sys.executable, "-S", "-c", program], {})


@contextlib.asynccontextmanager
async def kept(folder: Path, *, workers: int = 1) -> AsyncIterator[tuple[Keeper, Simple, list[str]]]:
    child, heard = Simple(folder, PROGRAM if workers == 1 else PARENT), list[str]()
    await child.start()
    keeper = Keeper("child", child, lambda _, what: heard.append(what), workers=workers)
    keeper.keep()
    try:
        yield keeper, child, heard
    finally:
        await keeper.leave()
        grandchildren = children(child.pid or 0)
        await child.stop()
        for pid in grandchildren:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def test_a_killed_child_is_back_under_another_number_and_has_not_died_by_itself(tmp_path: Path) -> None:
    async with kept(tmp_path) as (keeper, child, heard):
        before = child.pid
        assert keeper.at_work
        assert keeper.kill(0)
        assert not keeper.at_work
        await keeper.until_at_work(PATIENCE_S)
        assert child.pid != before
        assert heard == ["is back"]
        assert keeper.died == 0


async def test_an_end_that_nobody_caused_is_counted(tmp_path: Path) -> None:
    async with kept(tmp_path) as (keeper, child, heard):
        assert child.pid is not None
        os.kill(child.pid, signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            while "is back" not in heard:
                await asyncio.sleep(0.01)
        assert heard == ["ended by itself with status -15", "is back"]
        assert keeper.died == 1


async def test_a_start_that_fails_is_tried_again(tmp_path: Path) -> None:
    async with kept(tmp_path) as (keeper, child, heard):
        child.bad_starts = 1
        keeper.kill(0)
        await keeper.until_at_work(PATIENCE_S)
        assert heard == ["could not start yet", "is back"]


async def test_a_paused_child_is_not_at_work_until_it_goes_on_and_can_be_killed_meanwhile(tmp_path: Path) -> None:
    async with kept(tmp_path) as (keeper, child, _):
        pid = keeper.pause_worker(0)
        assert pid == child.pid is not None
        assert child.running
        with pytest.raises(TimeoutError):
            await keeper.until_at_work(0.05)
        keeper.go_on(pid)
        await keeper.until_at_work(PATIENCE_S)
        assert keeper.pause_worker(0) == pid
        assert keeper.kill_worker(0)
        keeper.go_on(pid)
        await keeper.until_at_work(PATIENCE_S)
        assert child.pid != pid


async def test_of_a_parent_with_workers_one_worker_is_killed_and_the_parent_lives(tmp_path: Path) -> None:
    async with kept(tmp_path, workers=2) as (keeper, child, heard):
        await keeper.until_at_work(PATIENCE_S)
        assert child.pid is not None
        before = set(children(child.pid))
        assert keeper.kill_worker(1)
        async with asyncio.timeout(PATIENCE_S):
            while len(set(children(child.pid)) - before) < 1:
                await asyncio.sleep(0.01)
        await keeper.until_at_work(PATIENCE_S)
        assert len(before & set(children(child.pid))) == 1
        assert not keeper.kill_worker(2)
        assert (keeper.workers_killed, keeper.died, heard) == (1, 0, [])


def test_the_service_reaches_the_database_over_the_link_with_its_own_name_and_password() -> None:
    dsn = "postgresql://settlement:s%40cret@/books?host=/run/some%20where&port=5432"
    assert socket_of(dsn) == Path("/run/some where/.s.PGSQL.5432")
    assert over_link(dsn, 7_001) == "postgresql://settlement:s%40cret@127.0.0.1:7001/books?sslmode=disable"

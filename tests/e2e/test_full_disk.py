"""A disk that is really full: the whole database server on a small file system in memory, filled up and freed again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from settlement.db.embedded import EmbeddedPostgres
from settlement.stubs.bankhost.wire import FaultSpec, Match
from terminal_sdk.card import VirtualCard
from tests.e2e.test_database_troubles import settlements, until_ready
from tests.support.database import open_folder
from tests.support.raw_terminal import line, raw_terminal
from tests.support.service import running_service

SIZE_MB = 256
CAN_MOUNT = sys.platform == "linux" and os.geteuid() == 0

pytestmark = [
    pytest.mark.deep,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not CAN_MOUNT, reason="mounting a small file system takes root on Linux"),
]


@pytest.fixture
def small_disk() -> Iterator[Path]:
    with open_folder() as folder:
        disk = folder / "disk"
        disk.mkdir(mode=0o755)
        options = ["-t", "tmpfs", "-o", f"size={SIZE_MB}m,mode=0755", "tmpfs", str(disk)]
        mounted = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
        if mounted.returncode:
            pytest.skip(f"mount refuses here (a container without CAP_SYS_ADMIN?): {mounted.stderr.strip()}")
        try:
            yield disk
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(ballast: Path) -> None:
    """Take what is left, down to the last block."""
    with ballast.open("ab", buffering=0) as file:
        for step in (1_048_576, 4_096, 1):
            try:
                while True:
                    file.write(b"\0" * step)
            except OSError:
                continue


async def test_nothing_is_half_done_and_it_goes_on_when_there_is_room(small_disk: Path, tmp_path: Path) -> None:
    server = EmbeddedPostgres(small_disk / "data")
    dsn = await asyncio.to_thread(server.start)
    try:
        async with running_service(dsn, tmp_path) as service:
            image = await service.issue_card(current_year_fen=1_000_000, bank=None)
            with_bank = await service.issue_card(bank_fen=100_000)
            async with raw_terminal(service.base_url, await service.enrolled()) as till:
                card = VirtualCard(image)
                at_the_bank = till.settlement(with_bank, VirtualCard(with_bank), [line(50_000)])
                await service.bank.add_fault(
                    FaultSpec(
                        action="delay_ms", bank="ICBC", match=Match(mti="0200"), delay_ms=1_000, when="after_commit"
                    )
                )
                under_way = asyncio.create_task(till.call("POST", "/v1/settlements", at_the_bank))
                async with asyncio.timeout(20):
                    while not any(fault.played for fault in await service.bank.faults()):
                        await asyncio.sleep(0.01)
                ballast = small_disk / "ballast"
                await asyncio.to_thread(fill, ballast)
                answers = []
                settled = 0
                for _ in range(3_000):  # until the pages and the log's file that were there are used up
                    request = till.settlement(image, card, [line(100)], pin=False)
                    answers.append(await till.call("POST", "/v1/settlements", request))
                    settled += answers[-1].status == 200
                    if answers[-1].status != 200:
                        break
                refused = answers[-1]
                assert refused.status in {503, 504}, refused
                assert refused.code in {"NOT_READY", "OUTCOME_UNKNOWN", "TIMED_OUT"}
                assert refused.status == 504 or "Retry-After" in refused.headers
                assert (await under_way).status in {200, 202, 504}
                ballast.unlink()
                # A full log ends the server itself; an operator (or the service's start) starts it again.
                await asyncio.to_thread(server.start)
                await until_ready(service)
                again = await till.call("POST", "/v1/settlements", request)
                assert (again.status, again.body["state"]) == (200, "settled")
                await service.until_final()
                # What the bank had approved is neither lost nor taken twice: captured, or reversed at the bank too.
                known = await till.call("POST", "/v1/settlements", at_the_bank)
                assert known.body["state"] in {"settled", "reversed", "declined"}
                taken = await service.live_debits(with_bank)
                assert taken == ([known.body["split"]["bank_fen"]] if known.body["state"] == "settled" else [])
            assert await settlements(service) == settled + 2
    finally:
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.remove)

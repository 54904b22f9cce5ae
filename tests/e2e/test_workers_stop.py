"""A stop ends in its time whatever banks and clients do: what is under way is told, refused, or left to recovery."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from settlement.cli.serving import FORCED_EXIT
from settlement.stubs.bankhost.wire import FaultSpec, Match
from terminal_sdk.card import VirtualCard
from tests.support.raw_terminal import line, raw_terminal
from tests.support.service import RunningService, running_service
from tests.support.workers import insist, until, worker_pids

HALF_HEAD = b"POST /v1/settlements HTTP/1.1\r\nHost: x\r\n"
HALF_BODY = HALF_HEAD + b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
IDLE_AFTER_A_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


async def connection(service: RunningService, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = urlsplit(service.base_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(sent)
    await writer.drain()
    return reader, writer


async def until_refused(service: RunningService) -> None:
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionRefusedError):
            while True:
                _, writer = await connection(service, b"")
                writer.close()
                await asyncio.sleep(0.01)


async def until_at_the_bank(service: RunningService) -> None:
    async with asyncio.timeout(20):
        while not any(fault.played for fault in await service.bank.faults()):
            await asyncio.sleep(0.02)


async def silent_bank(service: RunningService) -> None:
    """The bank books the next debit and says nothing for a minute."""
    await service.bank.add_fault(
        FaultSpec(action="delay_ms", bank="ICBC", match=Match(mti="0200"), delay_ms=60_000, when="after_commit")
    )


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.deep), 2])
async def test_a_stop_ends_although_a_bank_never_answers_and_clients_hold_on(
    make_database: Callable[..., Awaitable[str]], tmp_path: Path, workers: int
) -> None:
    dsn = await make_database()
    async with running_service(
        dsn, tmp_path, workers=workers, bank_timeout_ms=30_000, SETTLEMENT_DRAIN_S="2", SETTLEMENT_CLAIM_LEASE_MS="2000"
    ) as service:
        image = await service.issue_card(current_year_fen=300, bank_fen=9_000)
        await silent_bank(service)
        held = [await connection(service, sent) for sent in (b"", HALF_HEAD, HALF_BODY, IDLE_AFTER_A_REQUEST)]
        async with raw_terminal(service.base_url, await service.enrolled()) as till:
            request = till.settlement(image, VirtualCard(image), [line(1_000)], wait_ms=30_000)
            call = asyncio.create_task(till.call("POST", "/v1/settlements", request))
            await until_at_the_bank(service)
            ending = asyncio.create_task(service.process.stop())
            try:
                await until_refused(service)
                assert not call.done()  # what is under way goes on while nothing new is taken
                answer = await call
            finally:
                status = await ending
            assert (answer.status, answer.body["state"]) == (202, "pending")
            assert answer.headers["Connection"] == "close"
            assert status == 0  # by itself and in its time: it was neither forced nor killed
            for reader, writer in held:
                with contextlib.suppress(ConnectionResetError):
                    await asyncio.wait_for(reader.read(), 5)
                writer.close()
            await service.bank.clear_faults()
            await service.process.start()
            assert (await insist(till, request)).body["state"] == "settled"
        assert await service.live_debits(image) == [700]


@pytest.mark.deep
async def test_a_worker_that_does_not_heed_is_killed_and_what_it_had_is_settled(
    make_database: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    async with running_service(
        await make_database(), tmp_path, workers=2, bank_timeout_ms=30_000, SETTLEMENT_DRAIN_S="1"
    ) as service:
        image = await service.issue_card(current_year_fen=300, bank_fen=9_000)
        await silent_bank(service)
        async with raw_terminal(service.base_url, await service.enrolled()) as till:
            request = till.settlement(image, VirtualCard(image), [line(1_000)], wait_ms=0)
            assert (await till.call("POST", "/v1/settlements", request)).status == 202
            await until_at_the_bank(service)
            for pid in worker_pids(service):
                os.kill(pid, signal.SIGSTOP)
            assert await service.process.stop() == FORCED_EXIT
            await service.bank.clear_faults()
            await service.process.start()
            assert (await insist(till, request)).body["state"] == "settled"
        assert await service.live_debits(image) == [700]


@pytest.mark.deep
async def test_workers_end_with_their_parent_and_the_next_one_takes_the_port(
    make_database: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    async with running_service(await make_database(), tmp_path, workers=2) as service:
        image = await service.issue_card(current_year_fen=300, bank_fen=9_000)
        workers = worker_pids(service)
        await service.process.kill()
        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
        await service.process.start()
        async with raw_terminal(service.base_url, await service.enrolled()) as till:
            paid = await insist(till, till.settlement(image, VirtualCard(image), [line(1_000)]))
        assert paid.body["state"] == "settled"


async def test_a_port_in_use_is_told_in_one_line(service: RunningService) -> None:
    port = urlsplit(service.base_url).port
    settings = service.base.settings
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "settlement", "serve", "--workers", "2", f"--port={port}"),
        env={
            **os.environ,
            "SETTLEMENT_DATABASE_URL": str(settings.database_url),
            "SETTLEMENT_DATA_DIR": str(settings.data_dir),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert (process.returncode, output.decode()) == (
        1,
        f"Error: cannot listen on 127.0.0.1 port {port}: Address already in use\n",
    )

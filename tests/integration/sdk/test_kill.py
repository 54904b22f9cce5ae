"""A till that is killed between send and answer: its successor finds the key and asks, and nothing is paid twice."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from terminal_sdk import Credentials, Settled, Terminal

KEY = "order-77-attempt-1"
TILL = Path(__file__).with_name("till_process.py")


async def killed_after_send(peer: Any, folder: Path) -> bytes:
    """Start a till, wait until its settlement has arrived, kill it; the body that it sent."""
    arrived = asyncio.Event()

    async def swallow(heard: Any) -> Any:
        arrived.set()
        return await peer.hang(heard)

    peer.script.append(swallow)
    process = await asyncio.create_subprocess_exec(sys.executable, str(TILL), str(folder), peer.base_url)
    try:
        await asyncio.wait_for(arrived.wait(), 60)
    finally:
        process.kill()
        assert await process.wait() == -signal.SIGKILL
    (sent,) = peer.sends
    return bytes(sent.body)


@pytest.mark.parametrize("known", [True, False], ids=["it arrived", "it did not"])
async def test_the_next_process_asks_with_the_same_key(
    known: bool, peer: Any, steps: Any, tmp_path: Path, credentials: Credentials
) -> None:
    body = await killed_after_send(peer, tmp_path)
    assert steps.journal_rows(tmp_path / "till.sqlite") == [(KEY, "settlement", "sent")]
    peer.heard.clear()
    peer.script.extend([steps.settlement("settled")] if known else [steps.unknown, steps.settlement("settled")])
    journal = tmp_path / "till.sqlite"
    async with Terminal(
        peer.base_url, credentials.terminal_id, credentials.key, credentials.certificate, journal
    ) as terminal:
        (recovered,) = await terminal.recover()
        assert isinstance(recovered, Settled)
        assert recovered.idempotency_key == KEY
        assert await terminal.open_attempts() == []
    assert peer.heard[0].what == "GET /v1/settlements"
    assert peer.heard[0].query == {"idempotency_key": KEY}
    assert [heard.body for heard in peer.sends] == ([] if known else [body])

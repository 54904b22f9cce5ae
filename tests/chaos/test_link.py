"""A link between two real sockets: what comes through in peace, and what in each of its faults."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chaos.link import Address, Link

PATIENCE_S = 5.0


class Echo:
    """Answers every piece with itself, and keeps what it heard."""

    def __init__(self) -> None:
        self.heard = b""
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                self.heard += data
                writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def echo() -> AsyncIterator[tuple[Echo, Address]]:
    partner = Echo()
    server = await asyncio.start_server(partner.serve, "127.0.0.1", 0)
    try:
        yield partner, server.sockets[0].getsockname()[:2]
    finally:
        server.close()


async def dial(link: Link) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", link.port)


async def say(ends: tuple[asyncio.StreamReader, asyncio.StreamWriter], words: bytes) -> bytes:
    reader, writer = ends
    writer.write(words)
    await writer.drain()
    async with asyncio.timeout(PATIENCE_S):
        return await reader.readexactly(len(words))


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What still comes before the other side has gone; a reset counts as an end."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await reader.read()
    except ConnectionError:
        return b""


async def until_heard(partner: Echo, words: bytes) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while partner.heard != words:
            await asyncio.sleep(0.01)


async def test_in_peace_everything_comes_through_and_the_end_too() -> None:
    async with echo() as (partner, address), Link("l", lambda: [address], delay_ms=1) as link:
        reader, writer = await dial(link)
        assert await say((reader, writer), b"hello") == b"hello"
        big = bytes(1_000_000)
        assert await say((reader, writer), big) == big
        writer.write_eof()
        assert await ended(reader) == b""
        assert partner.heard == b"hello" + big
        assert link.severed == 0
        writer.close()


async def test_a_cut_resets_what_stands_and_lets_new_connections_through() -> None:
    async with echo() as (_, address), Link("l", lambda: [address]) as link:
        reader, writer = await dial(link)
        assert await say((reader, writer), b"one") == b"one"
        await link.fail("cut")
        with pytest.raises(ConnectionResetError):
            async with asyncio.timeout(PATIENCE_S):
                await reader.readexactly(1)
        assert link.severed == 1
        again = await dial(link)
        assert await say(again, b"two") == b"two"
        writer.close()
        again[1].close()


async def test_refused_until_it_is_mended_and_then_on_the_same_port() -> None:
    async with echo() as (partner, address), Link("l", lambda: [address]) as link:
        first = await dial(link)
        assert await say(first, b"one") == b"one"
        await link.fail("refuse")
        assert await ended(first[0]) == b""
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                await dial(link)
        assert partner.connections == 1
        await link.mend()
        again = await dial(link)
        assert await say(again, b"two") == b"two"
        first[1].close()
        again[1].close()


async def test_what_is_said_while_it_stalls_comes_late_and_whole() -> None:
    async with echo() as (partner, address), Link("l", lambda: [address]) as link:
        reader, writer = await dial(link)
        assert await say((reader, writer), b"one") == b"one"
        await link.fail("stall")
        writer.write(b"two")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.readexactly(1)
        assert partner.heard == b"one"
        await link.mend()
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.readexactly(3) == b"two"
        assert link.severed == 0
        writer.close()


async def test_half_of_a_message_arrives_and_then_nothing_more() -> None:
    async with echo() as (partner, address), Link("l", lambda: [address]) as link:
        reader, writer = await dial(link)
        await link.fail("half")
        writer.write(b"12345678")
        assert await ended(reader) in {b"", b"12"}  # the half that arrived may have been answered, half of it
        assert partner.heard == b"1234"
        assert link.severed == 1
        writer.close()


async def test_a_deaf_link_delivers_and_loses_the_answers_for_good() -> None:
    async with echo() as (partner, address), Link("l", lambda: [address]) as link:
        reader, writer = await dial(link)
        idle = await dial(link)
        assert await say(idle, b"idle") == b"idle"
        partner.heard = b""
        await link.fail("deaf")
        writer.write(b"pay")
        await until_heard(partner, b"pay")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.readexactly(1)
        await link.mend()
        assert await ended(reader) == b""
        assert await say(idle, b"still") == b"still"
        assert link.severed == 1
        writer.close()
        idle[1].close()


async def test_what_was_under_way_when_a_link_broke_arrives_late_after_new_connections_have_worked() -> None:
    async with echo() as (partner, address), Link("l", lambda: [address]) as link:
        reader, writer = await dial(link)
        assert await say((reader, writer), b"one") == b"one"
        partner.heard = b""
        failing = asyncio.create_task(link.fail("late"))
        await asyncio.sleep(0)
        writer.write(b"pay")
        await failing
        assert await ended(reader) == b""
        again = await dial(link)
        assert await say(again, b"paid?") == b"paid?"
        assert partner.heard == b"paid?"
        await link.mend()
        await until_heard(partner, b"paid?pay")
        assert await say(again, b"!") == b"!"
        assert link.severed == 1
        writer.close()
        again[1].close()


async def test_connections_are_spread_and_a_dead_upstream_is_passed_over(tmp_path: Path) -> None:
    async with echo() as (one, first), echo() as (two, second):
        upstreams: list[Address] = [first, second, tmp_path / "nobody"]
        async with Link("l", lambda: upstreams) as link:
            for _ in range(6):
                ends = await dial(link)
                assert await say(ends, b"x") == b"x"
                ends[1].close()
            assert one.connections + two.connections == 6
            assert min(one.connections, two.connections) >= 2
            upstreams[:] = [tmp_path / "nobody"]
            reader, writer = await dial(link)
            assert await ended(reader) == b""
            writer.close()

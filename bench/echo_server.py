"""A bare aiohttp server that answers every request with the same settlement: the floor under any HTTP figure.

    python -m bench.echo_server

One process on uvloop, as the service. It says on one line of JSON where it listens, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading

import uvloop
from aiohttp import web

from bench.bills import sample_answer
from terminal_sdk import wire
from terminal_sdk.clock import SystemClock

ANSWER = wire.encode(sample_answer(SystemClock().now()))


async def echo(request: web.Request) -> web.Response:
    """Read the whole body, answer with one of a settlement's size."""
    await request.read()
    return web.Response(body=ANSWER, content_type="application/json")


async def serve() -> None:
    """Until standard input ends."""
    app = web.Application()
    app.router.add_post("/{path:.*}", echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{runner.addresses[0][1]}"}) + "\n")
    sys.stdout.flush()
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(target=_wait_for_end, args=(loop, over), daemon=True, name="stdin").start()
    await over.wait()
    await runner.cleanup()


def _wait_for_end(loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> None:
    while os.read(sys.stdin.fileno(), 4_096):
        pass
    loop.call_soon_threadsafe(over.set)


if __name__ == "__main__":
    uvloop.run(serve())

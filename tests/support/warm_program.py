"""A program that has been imported once and is run by forking: each run a process of its own, without the half second
that importing takes. ``WarmProgram`` is the tests' side; run as a script, this file is the process that forks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple

_MESSAGE_BYTES = 1 << 17
_FDS = 4  # standard input, output, error, and the pipe for the exit code


class Ended(NamedTuple):
    """How a run ended."""

    code: int
    out: bytes
    err: bytes


class WarmProgram:
    """``await warm.run(arguments, environment, typed)`` → ``Ended``."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests

    async def run(self, arguments: Sequence[str], environment: dict[str, str], typed: bytes = b"") -> Ended:
        """One run with these variables; ``typed`` comes by a pipe that then ends."""
        given, typing = os.pipe()
        os.write(typing, typed)
        os.close(typing)
        pipes = [os.pipe() for _ in range(_FDS - 1)]
        message = json.dumps({"arguments": arguments, "environment": environment}).encode()
        assert len(message) < _MESSAGE_BYTES
        socket.send_fds(self._requests, [message], [given, *(write for _, write in pipes)])
        for descriptor in (given, *(write for _, write in pipes)):
            os.close(descriptor)
        out, err, code = await asyncio.gather(*(_read_to_end(read) for read, _ in pipes))
        return Ended(int(code), out, err)


@contextlib.asynccontextmanager
async def warm_program() -> AsyncIterator[WarmProgram]:
    """``settlement-terminal``, imported with warnings as errors."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-W", "error", str(Path(__file__)), str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.PIPE,  # pipes, as the runs have: Python looks at them once, when it starts
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        yield WarmProgram(ours)
    _, complaints = await process.communicate()
    assert (process.returncode, complaints) == (0, b"")


async def _read_to_end(descriptor: int) -> bytes:
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", 0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        return await reader.read()
    finally:
        transport.close()


def _next_run(requests: socket.socket) -> bool:
    """Fork for each request; True in a process that is to run the program, False in this one when all is over."""
    while True:
        message, descriptors, *_ = socket.recv_fds(requests, _MESSAGE_BYTES, _FDS)
        if not message:
            return False
        watcher = os.fork()
        if watcher:
            for descriptor in descriptors:
                os.close(descriptor)
            os.waitpid(watcher, 0)
            continue
        # A child of a child, whom nobody has to wait for: so runs may overlap.
        if os.fork():
            os._exit(0)
        requests.close()
        *standard, told = descriptors
        run = os.fork()
        if run:
            for descriptor in standard:
                os.close(descriptor)
            code = os.waitstatus_to_exitcode(os.waitpid(run, 0)[1])
            os.write(told, str(code).encode())
            os._exit(0)
        os.close(told)
        os.setsid()  # no terminal: a hidden prompt is refused
        for place, descriptor in enumerate(standard):
            os.dup2(descriptor, place)
            os.close(descriptor)
        asked = json.loads(message)
        os.environ.clear()
        os.environ.update(asked["environment"])
        sys.argv[1:] = asked["arguments"]
        return True


if __name__ == "__main__":
    import click

    from terminal_sdk.cli.main import main

    every = click.Context(main)
    for name in main.list_commands(every):
        main.get_command(every, name)
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        asked_to_run = _next_run(requests)
    if asked_to_run:
        main(prog_name="settlement-terminal")

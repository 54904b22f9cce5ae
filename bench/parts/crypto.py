"""SM2 as the service meets it: how many signatures one core verifies and makes, through `terminal_sdk.crypto`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from bench.cells import Cell, Part, Reading
from bench.world import World
from terminal_sdk.crypto import Sm2PrivateKey, Sm2PublicKey, sm3
from terminal_sdk.signing import card_signed_message

_BATCH_S = 0.01


def per_cpu_second(operation: Callable[[], Any], seconds: float) -> float:
    """Operations per second of this thread's CPU time, over so many of them."""
    operation()
    done, start = 0, time.thread_time()
    while (spent := time.thread_time() - start) < seconds:
        stop = time.perf_counter() + _BATCH_S  # reading the CPU clock each time would be part of the figure
        while time.perf_counter() < stop:
            operation()
            done += 1
    return done / spent


@contextlib.asynccontextmanager
async def _open(world: World) -> AsyncIterator[Sequence[Cell]]:
    key = Sm2PrivateKey.generate()
    public = key.public_key.to_bytes()
    message = card_signed_message("A12345678", 1, sm3(b"bench"))
    signature = key.sign(message)
    each_s = world.options.seconds / 2

    def verify() -> None:
        # from its bytes, as the card's key comes from the registry
        Sm2PublicKey.from_bytes(public).verify(message, signature)

    async def measure() -> list[Reading]:
        verified = await asyncio.to_thread(per_cpu_second, verify, each_s)
        signed = await asyncio.to_thread(per_cpu_second, functools.partial(key.sign, message), each_s)
        return [
            Reading(quantity="verify", value=verified, unit="verifications/CPU-s", title="SM2 verification, one core"),
            Reading(quantity="sign", value=signed, unit="signatures/CPU-s", title="SM2 signing, one core"),
        ]

    yield [Cell(key="sm2", title="SM2 over a card's proof", measure=measure)]


CRYPTO = Part(name="crypto", title="SM2, native, one core", open=_open)

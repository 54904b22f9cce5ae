"""The bridge: greenlets wait for coroutines of another thread, side by side, and hear of their errors."""

from __future__ import annotations

import asyncio
import threading

import pytest

from loadtest.bridge import Bridge, CallFailed


class Gate:
    """Lets coroutines meet: each waits until so many have come."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._come = 0
        self._all_here = asyncio.Event()

    async def meet(self, name: int) -> int:
        self._come += 1
        if self._come == self._wanted:
            self._all_here.set()
        await self._all_here.wait()
        return name


async def fail() -> None:
    raise LookupError("not there")


def in_greenlets(loop: asyncio.AbstractEventLoop, gate: Gate, seen: list[object]) -> None:
    """The body of a thread of greenlets: five that can only end if they run side by side, and one that fails."""
    import gevent

    bridge = Bridge(loop)
    try:
        waiting = [gevent.spawn(lambda name=name: bridge.call(gate.meet(name))) for name in range(5)]
        gevent.joinall(waiting, raise_error=True)
        seen += [each.value[0] for each in waiting]
        assert all(each.value[1] >= 0 for each in waiting)
        with pytest.raises(CallFailed) as failed:
            bridge.call(fail())
        seen.append(failed.value.reason)
    finally:
        bridge.close()
        gevent.get_hub().destroy(destroy_loop=True)


async def test_calls_run_side_by_side_and_errors_come_through() -> None:
    seen: list[object] = []
    # A daemon and a bounded wait: where nobody is woken, the test fails instead of never ending.
    arguments = (asyncio.get_running_loop(), Gate(5), seen)
    thread = threading.Thread(target=in_greenlets, args=arguments, daemon=True)
    thread.start()
    await asyncio.to_thread(thread.join, 30)
    assert seen[:5] == list(range(5))
    assert isinstance(seen[5], LookupError)


def test_importing_locust_leaves_the_standard_library_alone() -> None:
    import locust

    assert locust.User is not None
    from gevent import monkey

    assert not monkey.is_module_patched("threading")
    assert not monkey.is_module_patched("socket")

"""Virtual time: an event loop on which nothing happens by itself, and processes on it that can be paused or killed."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import selectors
import warnings
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

T = TypeVar("T")

_CURRENT: contextvars.ContextVar[Process | None] = contextvars.ContextVar("simulated_process", default=None)
_TIMER_RESOLUTION_S = 1e-6
_NO_STEPS = frozenset({"_set_result_unless_cancelled"})
"""What only lets a task go on: to stop there is to stop before the task's own step."""
_LEFT_BEHIND = "Task was destroyed but it is pending!"

OUTSIDE = contextvars.Context()
"""The context of what belongs to no process: the network, the schedule, the tills."""


class Stalled(Exception):
    """Nothing is left that could ever happen, and yet somebody waits."""


class _Step:
    """One call that a process owes; ``handle`` is the event loop's, so that a cancelled one is not taken late."""

    __slots__ = ("arguments", "context", "function", "handle", "process")

    def __init__(
        self,
        process: Process,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        context: contextvars.Context | None,
    ) -> None:
        self.process = process
        self.function = function
        self.arguments = arguments
        self.context = context
        self.handle: asyncio.Handle | None = None

    def take(self) -> None:
        if self.handle is not None and self.handle.cancelled():
            return
        if self.process.lets_run(self):
            self.function(*self.arguments)


class Process:
    """A process of the simulated city. All that it has begun carries its context, so it can be stopped at any await.

    Killed, it is never resumed: no ``finally`` runs, no cancellation reaches it. Paused, what would happen in it waits.
    ``steps`` counts how often a task or callback in it was resumed; ``kill_at``: the step it does not live to take.
    """

    def __init__(self, loop: SimulatedLoop, name: str) -> None:
        self.loop = loop
        self.name = name
        self.alive = True
        self.steps = 0
        self.kill_at: int | None = None
        self.on_death: list[Callable[[], None]] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self._paused = False
        self._waiting: deque[_Step] = deque()
        self.context = contextvars.Context()
        self.context.run(_CURRENT.set, self)
        loop.processes.append(self)

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Begin a task that belongs to this process."""
        return self.loop.create_task(work, name=name, context=self.context.copy())

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call something in this process, in a turn of its own."""
        self.loop.call_soon(function, *arguments, context=self.context)

    def kill(self) -> None:
        """End it here and now."""
        if self.alive:
            self.alive = False
            for hook in self.on_death:
                hook()

    @property
    def paused(self) -> bool:
        """Whether it stands still."""
        return self._paused

    def pause(self, seconds: float) -> None:
        """Stop it for a while, as a machine that is starved or suspended does."""
        self._paused = True
        self.loop.call_later(seconds, self._resume, context=OUTSIDE)

    def _resume(self) -> None:
        self._paused = False
        waiting, self._waiting = self._waiting, deque()
        for step in waiting:
            asyncio.SelectorEventLoop.call_soon(self.loop, step.take, context=step.context or self.context)

    def lets_run(self, step: _Step) -> bool:
        """Whether a step may be taken now; a step of a paused process is kept for later."""
        if not self.alive:
            return False
        if self._paused:
            self._waiting.append(step)
            return False
        if getattr(step.function, "__name__", "") not in _NO_STEPS:
            self.steps += 1
            if self.steps == self.kill_at:
                self.kill()
                return False
        return True


def current_process() -> Process | None:
    """The process in which the calling code runs, or None."""
    return _CURRENT.get()


class _NoWaiting(selectors.SelectSelector):
    """Where an event loop would wait for sockets, time goes on instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stalled("nothing is scheduled any more, and somebody waits")
        self.now += max(timeout, 0.0)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time. It jumps to the next timer when nothing is ready, and never waits.

    ``network`` carries connections; what would run in another thread runs here at once. All is single-threaded and
    ordered, so that a run repeats exactly.
    """

    def __init__(self) -> None:
        self._time = _NoWaiting()
        super().__init__(self._time)
        self._clock_resolution = _TIMER_RESOLUTION_S
        self.processes: list[Process] = []
        self.troubles: list[str] = []
        self.network: Any = None
        self._over = False
        self.set_task_factory(cast("Any", _owned_task))

    def time(self) -> float:
        """Virtual seconds since the beginning."""
        return self._time.now

    def call_soon(  # type: ignore[override]  # the base class ties arguments to the callback by a TypeVarTuple
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """As any event loop, but a step of a process that is dead or paused is not taken."""
        if self._over:
            return asyncio.Handle(callback, args, self, context)
        process = _owner(context)
        if process is None:
            return super().call_soon(callback, *args, context=context)
        step = _Step(process, callback, args, context)
        step.handle = super().call_soon(step.take, context=context)
        return step.handle

    def call_at(  # type: ignore[override]  # as call_soon
        self, when: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """As any event loop; see ``call_soon``."""
        process = _owner(context)
        if process is None:
            return super().call_at(when, callback, *args, context=context)
        step = _Step(process, callback, args, context)
        handle = super().call_at(when, step.take, context=context)
        step.handle = handle
        return handle

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]  # typeshed: TypeVarTuple
        """Run at once: a thread would make the order of things depend on the machine."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        """Connect over the simulated network."""
        return await self.network.connect(protocol_factory, port)

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        """Listen on the simulated network."""
        return self.network.listen(protocol_factory, port)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Whatever asyncio would log is a finding, except that killed processes leave tasks behind."""
        if context.get("message") != _LEFT_BEHIND:
            self.troubles.append(f"{context.get('message')}: {context.get('exception')!r}")

    def end(self) -> None:
        """Close the loop, and what was left half done, without letting any of it act any more."""
        self._over = True
        owned = [task for process in self.processes for task in process.tasks]
        with warnings.catch_warnings():
            # What was to be awaited in a step that was never taken.
            warnings.simplefilter("ignore", RuntimeWarning)
            for task in dict.fromkeys([*owned, *asyncio.all_tasks(self)]):
                if not task.done():
                    _abandon(task)
        self.close()


def _abandon(task: asyncio.Task[Any]) -> None:
    # A pending task that is collected complains; these were meant to be left.
    cast("Any", task)._log_destroy_pending = False
    with contextlib.suppress(Exception):  # dying code of a dead process; nothing hears it
        cast("Coroutine[Any, Any, Any]", task.get_coro()).close()


def _owner(context: contextvars.Context | None) -> Process | None:
    return _CURRENT.get() if context is None else context.get(_CURRENT)


def _owned_task(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T], **options: Any) -> asyncio.Task[T]:
    task: asyncio.Task[T] = asyncio.Task(coro, loop=loop, **options)
    process = _owner(options.get("context"))
    if process is not None:
        process.tasks.append(task)
    return task

"""The tills of a run: one ``terminal_sdk.Terminal`` for each terminal, signed in, with its journal on a disk."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from terminal_sdk import Credentials, RequestRefused, Terminal

_MEMORY_DISK = Path("/dev/shm")  # noqa: S108 - the system's own, and the folder in it is made for us alone
_WARM_UP_KEY = "load-test-warm-up"
_SIDE_BY_SIDE = 16


@dataclass(frozen=True, slots=True)
class Till:
    """A terminal, and a second one of the same identity that knows nothing of the first one's journal."""

    main: Terminal
    second: Terminal


@contextlib.contextmanager
def journal_folder(given: Path | None) -> Iterator[Path]:
    """Where the journals go: as given, or a folder of our own in memory (tmpfs), where there is one.

    The kit's journal is the same there, only that its disk is never slow: a real till has a disk of its own, while here
    dozens of them would share one with the database, and the load test would measure that.
    """
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    place = _MEMORY_DISK if _MEMORY_DISK.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="settlement-loadtest-", dir=place) as folder:
        yield Path(folder)


def in_memory(journals: Path) -> bool:
    """Whether this folder is on the memory disk, so that its fsync costs nothing."""
    return journals.is_relative_to(_MEMORY_DISK)


@contextlib.asynccontextmanager
async def open_tills(
    base_url: str, credentials: Sequence[Credentials], journals: Path, signed_in: Callable[[int], object]
) -> AsyncIterator[dict[str, Till]]:
    """Open and sign in all terminals, so that no bill pays for the sign-in; by terminal id."""
    async with contextlib.AsyncExitStack() as stack:
        tills = {
            own.terminal_id: Till(
                await stack.enter_async_context(_terminal(base_url, own, journals / f"{own.terminal_id}.sqlite")),
                await stack.enter_async_context(_terminal(base_url, own, journals / f"{own.terminal_id}-2.sqlite")),
            )
            for own in credentials
        }
        turn = asyncio.Semaphore(_SIDE_BY_SIDE)

        async def warm_up(till: Till) -> None:
            async with turn:
                for terminal in (till.main, till.second):
                    with contextlib.suppress(RequestRefused):  # nobody has settled under this key: as it must be
                        await terminal.status(idempotency_key=_WARM_UP_KEY)
                signed_in(1)

        await asyncio.gather(*map(warm_up, tills.values()))
        yield tills


def _terminal(base_url: str, own: Credentials, journal: Path) -> Terminal:
    return Terminal(base_url, own.terminal_id, own.key, own.certificate, journal)

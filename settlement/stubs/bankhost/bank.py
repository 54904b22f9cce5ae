"""One bank of the stub: its worker, its books and its TCP port."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from settlement.banks.iso.spec import ANSWER_OF
from settlement.clock import Clock
from settlement.ids import IdSource
from settlement.stubs.bankhost.books import Books, Fields
from settlement.stubs.bankhost.connection import HostConnection
from settlement.stubs.bankhost.faults import FaultPanel, is_before
from settlement.stubs.bankhost.frame_log import log_frame
from settlement.stubs.bankhost.profile import Profile
from settlement.stubs.bankhost.replies import SILENT, change_fields
from settlement.stubs.bankhost.store import Store
from settlement.stubs.bankhost.wire import FaultSpec
from settlement.stubs.bankhost.worker import Runs, Worker
from terminal_sdk.crypto import derive_key

R = TypeVar("R")

MakeWorker = Callable[[str, Callable[[], Books], Callable[[Books], sqlite3.Connection]], Runs[Books]]
"""Makes what runs jobs on a bank's books, from its name, how the books are opened, and their database."""

_CLOSE_WAIT_S = 5.0


class StubBank:
    """Plays one bank. Its books are ``<data_dir>/<code>.sqlite3``; ``zone_key`` is the 16-byte zone master key."""

    def __init__(
        self,
        profile: Profile,
        *,
        zone_key: bytes,
        data_dir: Path,
        faults: FaultPanel,
        clock: Clock,
        ids: IdSource,
        make_worker: MakeWorker = Worker,
    ) -> None:
        self.profile = profile
        self.zone_key = zone_key
        self.clock = clock
        self.ids = ids
        self.faults = faults
        self.connections: set[HostConnection] = set()
        self.port = profile.port
        self._server: asyncio.Server | None = None
        pin_key = derive_key(zone_key, f"bank-host-pin-check:{profile.code}")
        path = data_dir / f"{profile.code}.sqlite3"
        self._worker = make_worker(
            profile.code,
            lambda: Books(Store(path), profile, pin_key, clock, ids),
            lambda books: books.store.connection,
        )

    async def start(self, host: str) -> None:
        """Open the books, then the port (``port`` says which, when a free one was asked for)."""
        await self._worker.start()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(partial(HostConnection, self), host, self.profile.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port, let messages under way end (for some seconds), close the books."""
        if self._server is not None:
            self._server.close()
            connections = list(self.connections)
            await asyncio.gather(*(connection.drain(_CLOSE_WAIT_S) for connection in connections))
            self._server = None
        await self._worker.stop()

    def hang_up(self) -> None:
        """Close every connection at once; what is under way is booked all the same."""
        for connection in list(self.connections):
            connection.hang_up()

    async def ask(self, work: Callable[[Books], R]) -> R:
        """Do something with the books, on their thread and in one transaction."""
        return await self._worker.run(work)

    async def log(self, *frames: tuple[bool, Mapping[str, str], str]) -> None:
        """Log frames that need no judgement: (sent, fields, note) each."""

        def work(books: Books) -> None:
            for sent, fields, note in frames:
                log_frame(books.store, "sent" if sent else "received", fields, self.clock.now(), note)

        await self.ask(work)

    async def judge(self, fields: Mapping[str, str], pin_key: bytes, fault: FaultSpec | None) -> Fields:
        """Judge a request and book it, with the log of it and of the answer, in one transaction."""

        def work(books: Books) -> Fields:
            note = f"fault: {fault.action}" if fault else ""
            log_frame(books.store, "received", fields, self.clock.now(), note)
            if fault is not None and fault.code and is_before(fault, "answer_code", "before_commit"):
                answer = books.answer(fields, fault.code)
            else:
                answer = change_fields(books.handle(fields, pin_key), fault)
            if fault is None or fault.action not in SILENT:
                for _ in range(min(1 + fault.frames, 10) if fault is not None and fault.action == "duplicate" else 1):
                    log_frame(books.store, "sent", answer, self.clock.now(), note)
            return answer

        return await self.ask(work)

    async def refuse(self, fields: Mapping[str, str], code: str, note: str) -> Fields:
        """An answer that is no judgement (A0, 96), logged."""

        def work(books: Books) -> Fields:
            answer = books.answer(fields, code)
            log_frame(books.store, "received", fields, self.clock.now(), note)
            log_frame(books.store, "sent", answer, self.clock.now(), note)
            return answer

        return await self.ask(work)

    def bare_answer(self, fields: Mapping[str, str], code: str) -> Fields:
        """An answer made without the books, for when they cannot be reached."""
        echoed = ("3", "4", "7", "11", "12", "13", "32", "37", "41", "42", "49")
        return {"t": ANSWER_OF[fields["t"]], "39": code, **{n: fields[n] for n in echoed if n in fields}}

"""A synchronous till as a process of its own: ``sync_till_process.py SCENE FOLDER BASE_URL`` plays one scene."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import datetime as dt
import os
import sys
import threading
from pathlib import Path

from terminal_sdk import Bill, Credentials, FeeLine, Result, SyncTerminal, TerminalClosed
from terminal_sdk.card import CardImage, CardRead, CardSession, VirtualCard
from terminal_sdk.reader import VirtualReader

FOLDER, BASE_URL = Path(sys.argv[2]), sys.argv[3]
KEY = "order-77-attempt-1"
CARD = VirtualCard(CardImage.load(FOLDER / "card.json"))


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def make(journal: str = "till.sqlite") -> SyncTerminal:
    own = Credentials.load(FOLDER / "terminal.json")
    return SyncTerminal(BASE_URL, own.terminal_id, own.key, own.certificate, FOLDER / journal)


def bill(visit_no: str) -> Bill:
    return Bill(
        visit_no=visit_no,
        visit_type="pharmacy",
        service_date=dt.date(2019, 1, 2),
        lines=[FeeLine(line_no=1, item_code="86900001", item_name="阿莫西林胶囊", category="A", amount_fen=3_000)],
    )


def settle(terminal: SyncTerminal, visit_no: str = "ORDER-77", key: str | None = KEY) -> Result:
    with CardSession(VirtualReader(CARD)) as card:
        return terminal.settle(card=card, bank_ceiling_fen=0, idempotency_key=key, **bill(visit_no))


def threads() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("terminal-"))


def interrupted() -> None:
    """Ctrl-C while the service is silent."""
    try:
        with make() as terminal:
            settle(terminal)
    except KeyboardInterrupt:
        say("interrupted", threads())


def interrupted_again() -> None:
    """The same, and nobody catches it."""
    with make() as terminal:
        settle(terminal)


def goes_on() -> None:
    """Ctrl-C, caught inside the block: the terminal is open, and the same key goes on."""
    with make() as terminal:
        try:
            settle(terminal)
        except KeyboardInterrupt:
            say("interrupted", [entry.state for entry in terminal.open_attempts()])
        say(type(settle(terminal)).__name__)


def leaving() -> None:
    """Ctrl-C while the block is being left, which waits for the bill of another thread."""

    def wait_for_it(terminal: SyncTerminal) -> None:
        try:
            settle(terminal)
        except asyncio.CancelledError as cut_off:
            say(cut_off)

    try:
        with make() as terminal:
            waiting = threading.Thread(target=wait_for_it, args=(terminal,))
            waiting.start()
            sys.stdin.readline()
            threading.Thread(target=tell_when_leaving, args=(terminal,)).start()
    except KeyboardInterrupt:
        waiting.join()
        say("interrupted", [name for name in threads() if name == "terminal-loop"])


def tell_when_leaving(terminal: SyncTerminal) -> None:
    with contextlib.suppress(TerminalClosed):
        while True:
            terminal.open_attempts()
    say("leaving")


class HangingCard(CardSession):
    """A card that a reader never finishes to read."""

    def read(self) -> CardRead:
        say("reading")
        threading.Event().wait()
        raise AssertionError


def hanging_card() -> None:
    """Ctrl-C while the reader hangs."""
    try:
        with make() as terminal:
            terminal.quote(card=HangingCard(VirtualReader(CARD)), **bill("ORDER-77"))
    except KeyboardInterrupt:
        say("interrupted", [name for name in threads() if name == "terminal-loop"])


def forked() -> None:
    """A child is forked while the terminal is open."""
    with make() as terminal:
        settle(terminal, "ORDER-1", None)
        if os.fork() == 0:
            child(terminal)
            sys.exit()
        _, status = os.wait()
        say("child ended with", status)
        say("parent", type(settle(terminal, "ORDER-2", None)).__name__)


def child(terminal: SyncTerminal) -> None:
    try:
        settle(terminal, "ORDER-3", None)
    except TerminalClosed as error:
        say(type(error).__name__, error)
    with make("child.sqlite") as own:
        say("child", type(settle(own, "ORDER-4", None)).__name__)


def never_left() -> None:
    """The block is entered by hand and never left."""
    global kept  # noqa: PLW0603
    kept = make().__enter__()
    say(type(settle(kept)).__name__)


def never_left_amid() -> None:
    """The interpreter ends while a thread waits for the service."""
    global kept  # noqa: PLW0603
    kept = make().__enter__()

    def wait_for_it(terminal: SyncTerminal) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            settle(terminal)

    threading.Thread(target=wait_for_it, args=(kept,), daemon=True).start()
    sys.stdin.readline()


def main_ended() -> None:
    """A thread settles after the main thread has come to its end."""

    def later() -> None:
        threading.main_thread().join()
        with make() as terminal:
            say(type(settle(terminal)).__name__)

    threading.Thread(target=later).start()


def at_exit() -> None:
    """A terminal of its own in an exit handler."""

    def later() -> None:
        with make() as terminal:
            say(type(settle(terminal)).__name__)

    atexit.register(later)


def forgotten() -> None:
    """The open terminal is dropped."""
    terminal = make().__enter__()
    say(threads())
    loop = next(thread for thread in threading.enumerate() if thread.name == "terminal-loop")
    del terminal
    loop.join(60)
    say(threads())


kept: SyncTerminal | None = None
if __name__ == "__main__":
    globals()[sys.argv[1]]()

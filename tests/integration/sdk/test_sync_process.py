"""The synchronous client in processes of its own: Ctrl-C, fork, and the end of the interpreter."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from terminal_sdk import Credentials

KEY = "order-77-attempt-1"
TILL = Path(__file__).with_name("sync_till_process.py")
OPEN = [(KEY, "settlement", "sent")]
TIMEOUT_S = 60.0


@pytest.fixture(autouse=True)
def files(credentials: Credentials) -> None:
    """What the till's process reads: ``terminal.json`` and ``card.json``."""


@contextmanager
def till(scene: str, folder: Path, away: Any) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-X", "dev", str(TILL), scene, str(folder), away.base_url]
    with subprocess.Popen(
        command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str], stdin: str = "") -> list[str]:
    """What it printed; it has to end by itself, with success and without a word of complaint."""
    printed, complaints = process.communicate(stdin, timeout=TIMEOUT_S)
    assert complaints == ""
    assert process.returncode == 0
    return printed.splitlines()


def run(scene: str, folder: Path, away: Any) -> list[str]:
    with till(scene, folder, away) as process:
        return ended(process)


def silent_once(away: Any) -> threading.Event:
    """The next request is never answered; set when it has arrived."""
    arrived = threading.Event()

    async def swallow(heard: Any) -> Any:
        arrived.set()
        return await away.hang(heard)

    away.script.append(swallow)
    return arrived


def test_ctrl_c_leaves_the_attempt_in_the_journal_and_no_thread(away: Any, steps: Any, tmp_path: Path) -> None:
    arrived = silent_once(away)
    with till("interrupted", tmp_path, away) as process:
        assert arrived.wait(TIMEOUT_S)
        process.send_signal(signal.SIGINT)
        assert ended(process) == ["interrupted []"]
    assert steps.journal_rows(tmp_path / "till.sqlite") == OPEN


def test_ctrl_c_that_nobody_catches_ends_the_process(away: Any, steps: Any, tmp_path: Path) -> None:
    arrived = silent_once(away)
    with till("interrupted_again", tmp_path, away) as process:
        assert arrived.wait(TIMEOUT_S)
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == -signal.SIGINT
    assert complaints.splitlines()[-1] == "KeyboardInterrupt"
    assert steps.journal_rows(tmp_path / "till.sqlite") == OPEN


def test_after_ctrl_c_the_same_key_goes_on_in_the_same_terminal(away: Any, steps: Any, tmp_path: Path) -> None:
    arrived = silent_once(away)
    away.script.append(steps.settlement("settled"))
    with till("goes_on", tmp_path, away) as process:
        assert arrived.wait(TIMEOUT_S)
        process.send_signal(signal.SIGINT)
        assert ended(process) == ["interrupted ['sent']", "Settled"]
    first, second = away.sends
    assert first.body == second.body
    assert away.sign_ins == 1


def test_ctrl_c_while_leaving_cuts_off_the_bills_of_other_threads(away: Any, steps: Any, tmp_path: Path) -> None:
    arrived = silent_once(away)
    with till("leaving", tmp_path, away) as process:
        assert arrived.wait(TIMEOUT_S)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "leaving\n"
        process.send_signal(signal.SIGINT)
        cut_off, interrupted = ended(process)
    assert "recover" in cut_off
    assert interrupted == "interrupted []"
    assert steps.journal_rows(tmp_path / "till.sqlite") == OPEN


def test_ctrl_c_does_not_wait_for_a_reader_that_hangs(away: Any, tmp_path: Path) -> None:
    with till("hanging_card", tmp_path, away) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        process.send_signal(signal.SIGINT)
        assert ended(process) == ["interrupted []"]
    assert away.heard == []


def test_a_forked_process_is_refused_and_opens_its_own(away: Any, steps: Any, tmp_path: Path) -> None:
    away.otherwise = steps.settlement("settled")
    assert run("forked", tmp_path, away) == [
        "TerminalClosed the terminal was opened before this process was forked: open one of its own here",
        "child Settled",
        "child ended with 0",
        "parent Settled",
    ]
    assert [heard.json["visit_no"] for heard in away.sends] == ["ORDER-1", "ORDER-4", "ORDER-2"]


def test_a_terminal_that_is_never_left_is_closed_with_the_interpreter(away: Any, steps: Any, tmp_path: Path) -> None:
    away.otherwise = steps.settlement("settled")
    assert run("never_left", tmp_path, away) == ["Settled"]
    assert not (tmp_path / "till.sqlite-wal").exists()  # a journal that was closed has put its log away


def test_the_interpreter_ends_while_a_thread_waits(away: Any, steps: Any, tmp_path: Path) -> None:
    arrived = silent_once(away)
    with till("never_left_amid", tmp_path, away) as process:
        assert arrived.wait(TIMEOUT_S)
        assert ended(process, "\n") == []
    assert steps.journal_rows(tmp_path / "till.sqlite") == OPEN


@pytest.mark.parametrize("scene", ["main_ended", "at_exit"])
def test_it_settles_after_the_main_thread_has_ended(scene: str, away: Any, steps: Any, tmp_path: Path) -> None:
    away.otherwise = steps.settlement("settled")
    assert run(scene, tmp_path, away) == ["Settled"]


def test_a_terminal_that_is_forgotten_ends_its_thread(away: Any, tmp_path: Path) -> None:
    assert run("forgotten", tmp_path, away) == ["['terminal-loop']", "[]"]

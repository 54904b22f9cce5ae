"""``settlement-terminal plug``: a card for every PC/SC program, ours and others'."""

from __future__ import annotations

import contextlib
import json
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from terminal_sdk.card import CardImage, CardSession, PinWrong, read_card
from terminal_sdk.cli import main
from terminal_sdk.reader import NoCard
from terminal_sdk.reader.pcsc import PcscReader
from tests.pcsc.conftest import slot_name
from tests.pcsc.daemon import PATIENCE_S, TILL_READER, Daemon, run_opensc, seen, wait_until

SECRETS = ("123456", "654321", "310101195003074512", "A12345678", "6222020200112233445")


class PlugCommand:
    """The running command and what it printed."""

    def __init__(self, *arguments: str | Path) -> None:
        command = [sys.executable, "-c", "from terminal_sdk.cli import main; main()", "plug", *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.errors = ""
        self._threads = [threading.Thread(target=work) for work in (self._read_lines, self._read_errors)]
        for thread in self._threads:
            thread.start()

    def until(self, line: str) -> None:
        """Read on until this line comes."""
        seen_lines = []
        while not seen_lines or seen_lines[-1] != line:
            try:
                seen_lines.append(self._lines.get(timeout=PATIENCE_S))
            except queue.Empty:
                pytest.fail(f"{line!r} did not come after {seen_lines}")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stop it; its exit code. Harmless if it has ended."""
        self.process.send_signal(how)
        code = self.process.wait(PATIENCE_S)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        return code

    def close(self) -> None:
        self.stop()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def _read_lines(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors = self.process.stderr.read()


@contextlib.contextmanager
def plugged(*arguments: str | Path) -> Iterator[PlugCommand]:
    command = PlugCommand(*arguments)
    try:
        yield command
    finally:
        command.close()


@pytest.fixture
def card_file(tmp_path: Path, third_image: CardImage) -> Path:
    path = tmp_path / "card.json"
    path.write_text(third_image.to_json(), encoding="utf-8")
    return path


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_card_from_plugging_in_to_taking_out(pcscd: Daemon, card_file: Path, how: signal.Signals) -> None:
    slot = slot_name(0)
    with plugged("--card", card_file, "--port", str(pcscd.port)) as command:
        command.until(f"card  {card_file}, contact")
        command.until(f"slot  127.0.0.1:{pcscd.port}; Ctrl-C takes the card out")
        command.until("plugged in")
        wait_until(lambda: seen(slot, present=True), "card")
        reader = PcscReader(slot)
        assert read_card(reader).card_number == "A12345678"
        command.until("reset")
        command.until("powered down")
        assert command.stop(how) == 0
        command.until("taken out")
        assert command.errors == ""
        wait_until(lambda: seen(slot, present=False), "end of the card")
        with pytest.raises(NoCard):
            reader.connect()


def test_the_trace_hides_what_it_must_and_the_card_remembers(pcscd: Daemon, card_file: Path) -> None:
    slot, state = slot_name(0), card_file.with_name("card.json.state")
    with plugged("--card", card_file, "--port", str(pcscd.port), "--trace") as command:
        wait_until(lambda: seen(slot, present=True), "card")
        with CardSession(PcscReader(slot)) as session:
            with pytest.raises(PinWrong):
                session.verify_pin("654321")
            assert json.loads(state.read_bytes()) == {"counter": 0, "pin_tries": 2}
            session.verify_pin("123456")
            assert session.read().name == "张建国"
        command.stop()
    for line in ("ATR 3B6D00000012156F555353433330059000", "> 0020000003******", "< 63C2", "< [32 bytes] 9000"):
        assert line in command.errors.splitlines()
    encoded = [secret.encode("gbk").hex().upper() for secret in (*SECRETS, "张建国")]
    assert not [secret for secret in (*SECRETS, *encoded) if secret in command.errors]
    assert json.loads(state.read_bytes()) == {"counter": 0, "pin_tries": 3}


def test_with_reveal_the_trace_shows_what_was_read_but_no_pin(pcscd: Daemon, card_file: Path) -> None:
    slot = slot_name(1)
    port = str(pcscd.port + 1)
    with plugged("--card", card_file, "--port", port, "--interface", "contactless", "--trace", "--reveal") as command:
        wait_until(lambda: seen(slot, present=True), "card")
        with CardSession(PcscReader(slot)) as session:
            session.verify_pin("123456")
            assert session.read().atr.hex().startswith("3b8d8001")
        command.stop()
    assert "张建国".encode("gbk").hex().upper() in command.errors
    assert "0020000003123456" not in command.errors


def test_it_plugs_in_again_when_the_daemon_comes_back(pcscd: Daemon, card_file: Path) -> None:
    reader = PcscReader(slot_name(0))
    with plugged("--card", card_file, "--port", str(pcscd.port)) as command:
        for how in (signal.SIGTERM, signal.SIGKILL):
            command.until("plugged in")
            pcscd.stop(how)
            command.until("the daemon went away; plugging in again when it is back")
            pcscd.start(TILL_READER)
        command.until("plugged in")
        wait_until(lambda: seen(slot_name(0), present=True), "card")
        assert read_card(reader).card_number == "A12345678"
        pcscd.stop()
        command.until("the daemon went away; plugging in again when it is back")
        assert command.stop() == 0  # also while there is no daemon


def test_a_slot_holds_one_card(pcscd: Daemon, card_file: Path, tmp_path: Path, legacy_image: CardImage) -> None:
    legacy_file = tmp_path / "legacy.json"
    legacy_file.write_text(legacy_image.to_json(), encoding="utf-8")
    reader = PcscReader(slot_name(0))
    with plugged("--card", card_file, "--port", str(pcscd.port)) as first:
        first.until("plugged in")
        with plugged("--card", legacy_file, "--port", str(pcscd.port)) as second:
            second.until("another card is in this slot; waiting until it is free")
            wait_until(lambda: seen(slot_name(0), present=True), "card")
            assert read_card(reader).kind == "third_generation"
            first.stop()
            second.until("plugged in")
            wait_until(lambda: seen(slot_name(0), present=True), "second card")
            assert read_card(reader).kind == "legacy"


def test_a_foreign_program_reads_the_card(pcscd: Daemon, card_file: Path) -> None:
    """OpenSC selects the social security application by its AID and reads records, by its own T=0."""
    with plugged("--card", card_file, "--port", str(pcscd.port)):
        wait_until(lambda: seen(slot_name(0), present=True), "card")
        commands = ("00A404000F7378312E73682EC9E7BBE1B1A3D5CF", "00A4000002EF05", "00B2030006", "00B2070400")
        sends = [word for command in commands for word in ("--send-apdu", command)]
        output = run_opensc("--reader", slot_name(0), "--atr", *sends)
    atr, *answers = re.split(r"^Sending:.*$\n", output, flags=re.MULTILINE)
    assert atr.splitlines()[-1] == "3b:6d:00:00:00:12:15:6f:55:53:53:43:33:30:05:90:00"
    assert [re.search(r"SW1=0x(..), SW2=0x(..)", answer).groups() for answer in answers] == [("90", "00")] * 4  # type: ignore[union-attr]
    assert "03 04 33 2E 30 30" in answers[2]
    assert "07 09 41 31 32 33 34 35 36 37 38" in answers[3]


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["plug", *map(str, arguments)])
    return result.exit_code, result.output


def test_refusals_at_the_start(card_file: Path, tmp_path: Path, legacy_image: CardImage) -> None:
    legacy_file = tmp_path / "legacy.json"
    legacy_file.write_text(legacy_image.to_json(), encoding="utf-8")
    broken = tmp_path / "broken.json"
    broken.write_text("{}", encoding="utf-8")

    code, output = run("--card", card_file, "--port", "9")
    assert (code, output.splitlines()[-1]) == (
        3,
        "Error: no virtual slot at 127.0.0.1:9: install pcscd and vsmartcard-vpcd, and start the daemon (pcscd)",
    )
    code, output = run("--card", legacy_file, "--interface", "contactless", "--port", "9")
    assert (code, output.splitlines()[-1]) == (3, "Error: no card answers on the contactless interface")
    for wrong in (
        ("--card", card_file, "--slot", "1", "--port", "9"),
        ("--card", card_file, "--slot", "2"),
        ("--card", broken),
        ("--card", tmp_path / "missing.json"),
        (),
    ):
        code, output = run(*wrong)
        assert code == 2
        assert "Traceback" not in output

"""The guide to real readers runs as printed, against a real daemon, and names every error there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from terminal_sdk.card import CardImage, VirtualCard
from terminal_sdk.reader import ReaderError, errors
from tests.pcsc.conftest import Plug, slot_name
from tests.pcsc.daemon import Daemon, run_opensc, seen, wait_until
from tests.pcsc.test_plug_command import plugged

PAGE = (Path(__file__).parents[2] / "docs" / "guide" / "readers.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SESSIONS = re.findall(r"^```console\n\$ (.*?)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
DEFAULT_PORT = "35963"


def session(program: str) -> tuple[str, list[str]]:
    """The first printed command line of a program, and what it prints."""
    line, output = next((line, output) for line, output in SESSIONS if line.startswith(program))
    return line, output.splitlines()


def test_the_program_runs(
    pcscd: Daemon, plug: Plug, third_image: CardImage, capsys: pytest.CaptureFixture[str]
) -> None:
    plug(VirtualCard(third_image))
    assert len(PROGRAMS) == 3
    names: dict[str, Any] = {"__name__": "guide"}
    for program in PROGRAMS:
        exec(program, names)  # noqa: S102 - the page is part of this project
    assert capsys.readouterr().out == (f"['{slot_name(0)}', '{slot_name(1)}']\nthird_generation in {slot_name(0)}\n")
    assert names["card"].card_number == third_image.card_number


def test_the_loop_waits_for_a_card(pcscd: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "guide"}
    loop, call = PROGRAMS[2].rsplit("\n\n\n", 1)
    assert call == "card = next_card(reader)\n"
    for program in (PROGRAMS[0], PROGRAMS[1].split("\n\n")[0], loop):
        exec(program, names)  # noqa: S102 - the page is part of this project
    capsys.readouterr()
    with pytest.raises(ReaderError):
        names["next_card"](names["reader"], 0.5)
    assert capsys.readouterr().out == "please insert the card\n"


def test_the_session_without_hardware(pcscd: Daemon, tmp_path: Path, third_image: CardImage) -> None:
    card_file = tmp_path / "card.json"
    card_file.write_text(third_image.to_json(), encoding="utf-8")
    line, output = session("settlement-terminal plug")
    arguments = [str(card_file) if word == "card.json" else word for word in shlex.split(line)[2:]]
    with plugged(*arguments, "--port", str(pcscd.port)) as command:
        for printed in output:
            command.until(printed.replace("card.json", str(card_file)).replace(DEFAULT_PORT, str(pcscd.port)))
        wait_until(lambda: seen(slot_name(0), present=True), "card")
        line, output = session("opensc-tool")
        assert run_opensc(*shlex.split(line)[1:]).splitlines() == output


def test_every_error_is_explained() -> None:
    table = PAGE[PAGE.index("| error | what happened |") : PAGE.index("Cards have errors of their own")]
    named = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, ReaderError) and value is not ReaderError
    }
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == named

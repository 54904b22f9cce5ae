"""The card reference says what the code does: its ATRs, its trace, and its tables of tags and status words."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest

import terminal_sdk.card
import terminal_sdk.reader
from terminal_sdk.card import KNOWN_CARDS, CardImage, CardSession, VirtualCard
from terminal_sdk.card.apdu import Status
from terminal_sdk.card.layout import HOLDER_LENGTHS, PUBLIC_LENGTHS
from terminal_sdk.reader import Interface, TracingReader, VirtualReader

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "card.md").read_text(encoding="utf-8")
ANY = "…"
PIN = "123456"


def _trace(interface: str) -> list[str]:
    block = re.search(rf"```apdu {interface}\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    return [line for line in block.group(1).splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("interface", ["contact", "contactless"])
def test_the_trace_is_what_the_card_does(third_image: CardImage, interface: Interface) -> None:
    lines = _trace(interface)
    connection = VirtualReader(VirtualCard(third_image), interface).connect()
    assert lines[0] == f"ATR {connection.atr.hex().upper()}"
    assert len(lines) > 10

    for command, answer in zip(lines[1::2], lines[2::2], strict=True):
        assert (command[:2], answer[:2]) == ("> ", "< ")
        if ANY in command:
            continue
        response = connection.transmit(bytes.fromhex(command[2:].replace("*" * 6, PIN))).hex().upper()
        expected = ".*".join(re.escape(part) for part in answer[2:].split(ANY))
        assert re.fullmatch(expected, response), command


def test_the_trace_is_what_the_terminal_sends(third: VirtualCard) -> None:
    sent: list[str] = []
    with CardSession(TracingReader(VirtualReader(third), sent.append)) as session:
        session.verify_pin(PIN)
        session.read()
        session.prove(
            terminal_id="T0000001",
            visit_no="V1",
            total_fen=12345,
            agreed="ceiling:5000",
            now=dt.datetime(2019, 1, 1, 0, 30, tzinfo=dt.UTC),
        )

    commands = [line for line in _trace("contact") if line.startswith(">")]
    for line, command in zip(commands, [line for line in sent if line.startswith(">")], strict=True):
        assert re.fullmatch(re.escape(line).replace(ANY, ".*"), command)


def test_the_atrs_are_those_of_the_directory() -> None:
    atrs = re.findall(r"`(3B(?: [0-9A-F]{2})+)` \|", PAGE)

    assert len(atrs) == 3
    for atr in atrs:
        assert KNOWN_CARDS.identify(bytes.fromhex(atr)).name.split()[0] in {"third-generation", "legacy"}


def test_every_status_word_is_explained() -> None:
    for status in Status:
        word = {Status.BYTES_AVAILABLE: "61xx", Status.TRIES_LEFT: "63Cx", Status.WRONG_LE: "6Cxx"}.get(
            status, f"{status:04X}"
        )
        assert f"`{word}`" in PAGE, word


def test_every_field_has_its_length() -> None:
    for tag, length in {**PUBLIC_LENGTHS, **HOLDER_LENGTHS}.items():
        assert re.search(rf"^\| (?:05, )?{tag:02X}(?:, 06)? \| {length} \|", PAGE, re.MULTILINE), f"{tag:02X}"


def test_every_error_of_the_table_exists() -> None:
    table = PAGE[PAGE.index("| what went wrong | error |") : PAGE.index("The first three are")]

    for name in re.findall(r"`([A-Z]\w+)`", table):
        assert hasattr(terminal_sdk.card, name) or hasattr(terminal_sdk.reader, name), name


def test_the_programs_run(third: VirtualCard, capsys: pytest.CaptureFixture[str]) -> None:
    programs = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {
        "reader": VirtualReader(third),
        "pin": "000000",
        "now": dt.datetime(2019, 1, 1, tzinfo=dt.UTC),
    }

    assert len(programs) == 2
    for program in programs:
        exec(program, names)  # noqa: S102 - the page is part of this project

    assert capsys.readouterr().out == "2\n"
    assert getattr(names["proof"], "counter", None) == 1

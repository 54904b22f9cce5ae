"""The command line: what it takes, what it refuses, and that the page about it tells the truth."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.parts import PARTS
from bench.ratios import PAIRS

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "reference" / "bench.md").read_text(encoding="utf-8")
MAKE = re.compile(r'^\$ make bench(?: ARGS="([^"]*)")?', re.MULTILINE)
DIRECT = re.compile(r"^\$ python -m bench(.*)$", re.MULTILINE)
COMMANDS = sorted({line.strip() for line in [*MAKE.findall(PAGE), *DIRECT.findall(PAGE)]})


def parsed(arguments: str) -> dict[str, object]:
    """The parameters that a command line gives; nothing is run."""
    words = [word for word in shlex.split(arguments) if word != "crypto"]
    return main.make_context("bench", words or ["--quick"], resilient_parsing=False).params


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_in_the_page_are_ones_the_program_takes(line: str) -> None:
    if line.startswith("crypto"):
        assert main.commands["crypto"].make_context("crypto", shlex.split(line)[1:]).params["seconds"] > 0
    else:
        parts = parsed(line).get("only", ())
        assert isinstance(parts, tuple)
        assert set(parts) <= {part.name for part in PARTS}


def test_the_page_shows_commands() -> None:
    assert len(COMMANDS) >= 4


@pytest.mark.parametrize("part", [part.name for part in PARTS])
def test_the_page_explains_every_part(part: str) -> None:
    assert f"`{part}`" in PAGE


@pytest.mark.parametrize("pair", [pair.name for pair in PAIRS])
def test_the_page_names_every_ratio(pair: str) -> None:
    assert f"`{pair}`" in PAGE


@pytest.mark.parametrize("option", [option for each in main.params for option in each.opts])
def test_the_page_names_every_option(option: str) -> None:
    assert f"`{option}" in PAGE


def test_numbers_are_taken_in_their_order_and_once() -> None:
    given = parsed("--clients 8,1,8 --rates 50,12.5")
    assert given["clients"] == (8, 1)
    assert given["rates"] == (50.0, 12.5)


@pytest.mark.parametrize(
    "arguments",
    ["--clients 0", "--clients 1,x", "--clients 1.5", "--clients 61", "--rates -1", "--rates nan", "--clients ''"],
)
def test_what_is_no_number_of_clients_or_rate_is_refused(arguments: str) -> None:
    with pytest.raises(click.BadParameter):
        parsed(arguments)


def test_an_unknown_part_is_refused_before_anything_is_started() -> None:
    result = CliRunner().invoke(main, ["--only", "settel"])
    assert result.exit_code == 2
    assert "no part settel; there are: crypto, policy, pgbench" in result.output


def test_the_parts_are_listed() -> None:
    result = CliRunner().invoke(main, ["--list"])
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()] == [part.name for part in PARTS]


def test_the_crypto_comparison_runs_and_leaves_the_choice_of_library_alone() -> None:
    before = os.environ.get("SETTLEMENT_CRYPTO_BACKEND")
    result = CliRunner().invoke(main, ["crypto", "--seconds", "0.05"])
    assert result.exit_code == 0, result.output
    assert "openssl (ours)" in result.output
    assert "not installed" in result.output or "tongsuopy" in result.output
    assert os.environ.get("SETTLEMENT_CRYPTO_BACKEND") == before

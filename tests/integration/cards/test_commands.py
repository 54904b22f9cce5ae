"""``settlement cards`` over a real database: what an operator types and what comes back."""

from __future__ import annotations

import json
import re
import shlex
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from settlement.bootstrap import prepare_installation
from settlement.cli.cards import cards
from settlement.cli.main import main
from settlement.clock import SystemClock
from settlement.config import Settings
from settlement.errors import CATALOGUE
from terminal_sdk.card import CardImage, VirtualCard, read_card
from terminal_sdk.reader import VirtualReader
from tests.support.cards import MASTER_KEY, new_id_number

Command = Callable[..., Result]

HELP: dict[str, Any] = {"help_option_names": main.context_settings["help_option_names"]}
"""As under the whole command: a command keeps the help option that it was first asked for."""


@pytest.fixture(scope="module")
def settings(registry_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An installation on the tests' database, with their master key and authorities of its own."""
    folder = tmp_path_factory.mktemp("installation")
    settings = Settings(database_url=registry_dsn, data_dir=folder, db_pool_min=0, master_key=MASTER_KEY.hex())
    prepare_installation(settings, SystemClock())
    return settings


@pytest.fixture
def command(settings: Settings) -> Command:
    def run(*arguments: object, status: int = 0, **extra: str) -> Result:
        result = CliRunner().invoke(cards, [str(each) for each in arguments], obj=settings, **HELP, **extra)  # type: ignore[arg-type]
        assert result.exit_code == status, result.output
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture
def card(command: Command, tmp_path: Path) -> Path:
    """The file of a new third-generation card, not activated."""
    path = tmp_path / "card.json"
    command("issue", "--name", "张建国", "--id-number", new_id_number(), "--bank", "ICBC", "--out", path)
    return path


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(cards, ["--help"], **HELP)
    changes = {"activate", "freeze", "unfreeze", "lost", "void", "revoke", "credit", "cover"}
    assert set(cards.commands) == {"add-person", "issue", "show", "list"} | changes
    for name in cards.commands:
        assert name in result.output
        assert CliRunner().invoke(cards, [name, "--help"], **HELP).exit_code == 0


def test_a_card_from_issue_to_void(command: Command, card: Path) -> None:
    image = CardImage.load(card)
    assert stat.S_IMODE(card.stat().st_mode) == 0o600
    assert read_card(VirtualReader(VirtualCard(image))).card_number == image.card_number
    command("activate", card, "--function", "financial")
    command("freeze", image.card_number, "--function", "financial")
    command("credit", card, "--account", "current-year", "--yuan", "1200.5", "--reason", "monthly")
    shown = json.loads(command("show", card, "--json").stdout)
    assert [shown["card"][state] for state in ("life", "social", "financial")] == ["issued", "active", "frozen"]
    assert shown["current_year_available_fen"] == 120_050
    command("unfreeze", card, "--function", "financial")
    command("revoke", card, "--yes")
    command("lost", card)
    assert "CARD_LOST" in command("activate", card, "--function", "social", status=1).output
    command("void", card, input="n\n", status=1)
    command("void", card, "--yes")
    text = command("show", card).output
    assert "financial_unfrozen" in text
    assert "1200.50" in text
    for secret in (image.name, image.social_security_number, image.card_number, image.pan):
        assert secret is not None
        assert secret not in text


def test_by_which_plan_a_person_is_covered(command: Command, card: Path) -> None:
    working = ("cover", card, "--plan", "employees", "--status", "working", "--from", "2018-07-01")
    assert command(*working).output == "noted: from 2018-07-01 by employees, working\n"
    assert command(*working).output.startswith("noted before: ")
    retired = ("--plan", "employees", "--status", "retired", "--from", "2019-03-01", "--retired-on", "2019-02-28")
    command("cover", card, *retired, "--at-work-by", "1980-01-01")
    command("cover", card, "--none", "--from", "2030-01-01")
    text = command("show", card).output
    assert "coverage     from 2018-07-01 by employees, working\n" in text
    assert "from 2019-03-01 by employees, retired since 2019-02-28, at work by 1980-01-01\n" in text
    assert "from 2030-01-01 by no plan\n" in text
    found = json.loads(command("show", card, "--json").stdout)["coverages"]
    assert [(each["valid_from"], each["status"]) for each in found] == [
        ("2018-07-01", "working"),
        ("2019-03-01", "retired"),
        ("2030-01-01", None),
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from", "2019-07-01"], "either --plan and --status, or --none"),
        (["--from", "2019-07-01", "--plan", "employees"], "either --plan and --status"),
        (["--from", "2019-07-01", "--plan", "employees", "--status", "working", "--none"], "either --plan"),
        (["--from", "2019-07-01", "--plan", "empolyees", "--status", "working"], "there is no plan empolyees"),
        (["--from", "2019-02-29", "--none"], "a day such as 2019-07-01"),
        (["--from", "2019-07-01", "--plan", "employees", "--status", "boss"], "'boss' is not one of"),
        (
            ["--from", "2019-07-01", "--plan", "employees", "--status", "working", "--retired-on", "2019-01-01"],
            "only a retired person",
        ),
    ],
)
def test_a_coverage_that_nobody_has_is_refused(command: Command, card: Path, arguments: list[str], words: str) -> None:
    assert words in command("cover", card, *arguments, status=2).output
    assert json.loads(command("show", card, "--json").stdout)["coverages"] == []


def test_the_new_card_voids_the_legacy_one(command: Command, tmp_path: Path) -> None:
    person = ("--name", "李强", "--id-number", new_id_number())
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    command("issue", *person, "--legacy", "--activate", "social", "--out", old)
    command("issue", *person, "--bank", "CCB", "--activate", "financial", "--out", new)
    assert json.loads(command("show", old, "--json").stdout)["card"]["life"] == "void"
    assert "replaced by card" in command("show", old).output


def test_questions_are_asked_for_what_is_not_given(command: Command) -> None:
    number = new_id_number()
    first = command("add-person", input=f"王芳\n{number}\n")
    assert number not in first.output
    person = first.output.splitlines()[-1]
    assert person.startswith("person ")
    assert command("add-person", "--name", "王芳", "--id-number", number).output.strip() == person


def test_the_same_credit_id_books_once(command: Command, card: Path) -> None:
    arguments = ("credit", card, "--account", "carried-over", "--yuan", "3", "--reason", "r")
    booking = command(*arguments).output.split()[-1]
    assert "booked before" in command(*arguments, "--credit-id", booking).output
    assert json.loads(command("show", card, "--json").stdout)["carried_over_available_fen"] == 300


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["show", "ZZZZZZZZZ"], 1, "CARD_UNKNOWN"),
        (["show", "no/such/file"], 2, "nine characters"),
        (["credit", "ZZZZZZZZZ", "--account", "current-year", "--yuan", "-5", "--reason", "r"], 2, "two decimals"),
        (["credit", "ZZZZZZZZZ", "--account", "current-year", "--yuan", "1.005", "--reason", "r"], 2, "two decimals"),
        (["credit", "ZZZZZZZZZ", "--account", "current-year", "--yuan", "1", "--reason", "r"], 1, "CARD_UNKNOWN"),
        (["add-person", "--name", "王芳", "--id-number", "110105194912310021"], 1, "id_number"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments: list[str], status: int, message: str, command: Command) -> None:
    output = command(*arguments, status=status).output
    assert message in output
    assert "110105194912310021" not in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bank", "NOBANK"], "there are BOSC"),
        (["--bank", "SWITCH"], "there are BOSC"),
        (["--bank", "ICBC", "--legacy"], "either --bank"),
        ([], "either --bank"),
        (["--bank", "ICBC", "--pan", "123"], "13 to 19"),
    ],
)
def test_a_card_that_cannot_be_issued_leaves_no_file(
    options: list[str], message: str, command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "card.json"
    person = ["--name", "王芳", "--id-number", new_id_number()]
    status = 1 if "--pan" in options else 2
    assert message in command("issue", *person, *options, "--out", out, status=status).output
    assert not out.exists()


def test_a_file_that_is_there_is_never_written_over(command: Command, card: Path) -> None:
    before = card.read_bytes()
    person = ["--name", "王芳", "--id-number", new_id_number()]
    assert "cannot make" in command("issue", *person, "--bank", "ICBC", "--out", card, status=1).output
    assert card.read_bytes() == before


def test_cards_are_listed_masked(command: Command, card: Path) -> None:
    shown = json.loads(command("show", card, "--json").stdout)["card"]
    after = (shown["person_id"], shown["card_id"] - 1)
    (listed,) = json.loads(command("list", "--after", *after, "--limit", 1, "--json").stdout)
    assert listed == shown
    line = command("list", "--after", *after, "--limit", 1).output
    assert shown["card_number"] in line
    assert CardImage.load(card).card_number not in line


def test_an_installation_without_keys_is_told_what_to_do(registry_dsn: str, tmp_path: Path) -> None:
    bare = Settings(database_url=registry_dsn, data_dir=tmp_path)
    result = CliRunner().invoke(cards, ["list"], obj=bare, **HELP)
    assert result.exit_code == 1
    assert "settlement init" in result.output


def test_the_session_in_the_documentation_runs(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[3] / "docs/reference/card-registry.md").read_text(encoding="utf-8")
    lines = [line.split(" ", 3)[3] for line in page.splitlines() if line.startswith("$ settlement cards ")]
    assert len(lines) > 5
    monkeypatch.chdir(tmp_path)
    output = [command(*shlex.split(line)).output for line in lines]
    assert any("voided (replaced by card" in text for text in output)


def test_the_documentation_names_every_code_of_the_sql() -> None:
    root = Path(__file__).parents[3]
    page = (root / "docs/reference/card-registry.md").read_text(encoding="utf-8")
    sql = (root / "settlement/db/migrations/0007_cards.sql").read_text(encoding="utf-8")
    codes = set(re.findall(r"'([A-Z]+(?:_[A-Z]+)+)'", sql))
    assert codes
    assert {code for code in codes if f"`{code}`" not in page or code not in CATALOGUE} == set()

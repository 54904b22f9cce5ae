"""``settlement-terminal read``: what it shows, what it hides, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from terminal_sdk.card import CardImage
from terminal_sdk.cli import main

SECRETS = ("张建国", "310101195003074512", "A12345678", "6222020200112233445")


@pytest.fixture
def third_file(tmp_path: Path, third_image: CardImage) -> Path:
    path = tmp_path / "card.json"
    path.write_text(third_image.to_json(), encoding="utf-8")
    return path


@pytest.fixture
def legacy_file(tmp_path: Path, legacy_image: CardImage) -> Path:
    path = tmp_path / "legacy.json"
    path.write_text(legacy_image.to_json(), encoding="utf-8")
    return path


def run(*arguments: str | Path, pin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["read", *map(str, arguments)], input=None if pin is None else f"{pin}\n")


def test_a_locked_card_masked(third_file: Path) -> None:
    result = run("--card", third_file)

    assert result.exit_code == 0
    assert "third generation\n" in result.stdout
    assert "******678" in result.stdout
    assert "622202*********3445" in result.stdout
    assert result.stdout.count("locked (needs the PIN)") == 2
    assert not [secret for secret in SECRETS if secret in result.output]


def test_the_pin_unlocks_and_the_mask_stays(third_file: Path) -> None:
    result = run("--card", third_file, "--pin", "--trace", pin="123456")

    assert result.exit_code == 0
    assert "张**" in result.stdout
    assert "310*************12" in result.stdout
    assert "> 0020000003******" in result.stderr
    assert "< [32 bytes] 9000" in result.stderr
    assert not [
        secret for secret in (*SECRETS, "123456", "建国".encode("gbk").hex().upper()) if secret in result.output
    ]


def test_reveal_shows_everything_but_the_pin(third_file: Path) -> None:
    result = run("--card", third_file, "--pin", "--trace", "--reveal", pin="123456")

    assert result.exit_code == 0
    assert not [secret for secret in SECRETS if secret not in result.stdout]
    assert "张建国".encode("gbk").hex().upper() in result.stderr
    assert "0020000003123456" not in result.output


@pytest.mark.parametrize("interface", ["contact", "contactless"])
def test_json_is_one_object(third_file: Path, interface: str) -> None:
    shown = json.loads(run("--card", third_file, "--json", "--reveal", "--interface", interface).stdout)

    assert (shown["kind"], shown["version"]) == ("third_generation", "3.00")
    assert shown["card_number"] == "A12345678"
    assert len(shown["certificate_fingerprint"]) == 64
    assert (shown["name"], shown["social_security_number"]) == (None, None)
    assert shown["expires_on"] == "2028-12-19"
    assert shown["account_number"] == "6222020200112233445"
    assert "check_value" not in shown


def test_a_legacy_card(legacy_file: Path) -> None:
    result = run("--card", legacy_file)

    assert result.exit_code == 0
    assert "legacy, insurance only\n" in result.stdout
    assert "张**" in result.stdout
    assert "Bank application" not in result.stdout


def test_a_legacy_card_in_the_field_is_a_card_error(legacy_file: Path) -> None:
    result = run("--card", legacy_file, "--interface", "contactless")

    assert (result.exit_code, result.stderr) == (3, "Error: no card answers on the contactless interface\n")


def test_wrong_pins_count_down_over_several_runs_and_block(third_file: Path) -> None:
    ends = [run("--card", third_file, "--pin", pin=pin) for pin in ("000000", "000000", "000000", "123456")]

    assert [end.exit_code for end in ends] == [4, 4, 4, 4]
    assert "2 tries left" in ends[0].stderr
    assert "1 try left" in ends[1].stderr
    assert "0 tries left" in ends[2].stderr
    assert "blocked" in ends[3].stderr
    assert not [end for end in ends if "000000" in end.output]
    assert run("--card", third_file).exit_code == 0


def test_a_pin_of_another_form_is_exit_4_and_costs_no_try(third_file: Path) -> None:
    assert run("--card", third_file, "--pin", pin="12").exit_code == 4
    assert not third_file.with_name("card.json.state").exists()


def test_a_damaged_memory_is_a_card_error_without_a_stack_trace(third_file: Path) -> None:
    third_file.with_name("card.json.state").mkdir()

    result = run("--card", third_file)

    assert result.exit_code == 2
    assert "state file cannot be read" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("content", ["", "{}", "not json", "[1]"])
def test_a_file_that_is_no_card_is_wrong_usage(tmp_path: Path, content: str) -> None:
    path = tmp_path / "card.json"
    path.write_text(content)

    result = run("--card", path)

    assert result.exit_code == 2
    assert "card image" in result.stderr
    assert "Traceback" not in result.output


def test_wrong_usage(third_file: Path, tmp_path: Path) -> None:
    assert run().exit_code == 2
    assert run("--card", tmp_path / "missing.json").exit_code == 2
    assert run("--card", third_file, "--interface", "radio").exit_code == 2


def test_help_documents_the_exit_codes() -> None:
    result = run("--help")

    assert result.exit_code == 0
    for text in ("Exit codes:", "0  the card was read", "2  wrong usage", "3  the card or the reader", "4  the PIN"):
        assert text in result.stdout


def test_the_installed_entry_point(third_file: Path) -> None:
    command = [sys.executable, "-c", "from terminal_sdk.cli import main; main()", "read", "--card", str(third_file)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, encoding="utf-8")

    assert (done.returncode, done.stderr) == (0, "")
    assert "ICBC DEBIT" in done.stdout

"""The directory of banks: the built-in one, and clear words for a broken file."""

from pathlib import Path

import pytest

from settlement.banks.directory import (
    SWITCH,
    DirectoryError,
    default_directory,
    derive_zone_keys,
    load_directory,
    parse_directory,
)
from settlement.banks.router import BankLinks
from settlement.clock import SystemClock
from settlement.ids import SystemIds

ENTRY = """acquirer = "00310000"

[bank.ICBC]
name_zh = "工商银行"
name_en = "ICBC"
host = "127.0.0.1"
port = 18504
offers_inquiry = true
remembers_reversal = true
timeout_ms = 8000
max_in_flight = 256
cut_over = 23:00:00
"""


def test_eleven_banks_and_the_switch() -> None:
    directory = default_directory()

    assert len(directory.banks) == 12
    assert {bank.name_zh for bank in directory} >= {"上海银行", "浦发银行", "上海农商银行", "邮储银行", "光大银行"}
    assert len({(bank.host, bank.port) for bank in directory}) == 12
    assert directory.route("CMB") == "CMB"
    assert directory.route("HXB") == SWITCH


def test_each_bank_has_its_own_zone_key() -> None:
    directory = default_directory()
    keys = derive_zone_keys(bytes(16), directory)

    assert len(set(keys.values())) == 12
    assert keys == derive_zone_keys(bytes(16), directory)
    assert keys["ICBC"] != derive_zone_keys(b"x" * 16, directory)["ICBC"]


def test_a_missing_zone_key_is_named() -> None:
    directory = default_directory()
    keys = derive_zone_keys(bytes(16), directory)
    del keys["CEB"]
    clock = SystemClock()

    with pytest.raises(DirectoryError, match="CEB"):
        BankLinks(directory, keys, clock, SystemIds(clock))


def test_the_zone_key_is_named_after_the_bank_unless_told_otherwise() -> None:
    assert parse_directory(ENTRY, "x")["ICBC"].zone_key == "ICBC"
    assert parse_directory(ENTRY + 'zone_key = "old-icbc"\n', "x")["ICBC"].zone_key == "old-icbc"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("port = 18504", "port = 99999", r"banks\.toml, line 7: bank\.ICBC\.port: .*65535"),
        ("port = 18504", "port = true", r"line 7: bank\.ICBC\.port"),
        ("port = 18504\n", "", r"line 3: bank\.ICBC: port is missing"),
        ("timeout_ms = 8000", "timeout_ms = 0", r"line 10: bank\.ICBC\.timeout_ms"),
        ("timeout_ms = 8000", "time_out_ms = 8000", r"line 10: bank\.ICBC\.time_out_ms: is not a known key"),
        ("cut_over = 23:00:00", 'cut_over = "23:00"', r"line 12: bank\.ICBC\.cut_over: .*without quotes"),
        ("offers_inquiry = true", 'offers_inquiry = "yes"', r"line 8: bank\.ICBC\.offers_inquiry"),
        ("[bank.ICBC]", "[bank.icbc]", r"line 3: bank\.icbc: .*capital"),
        ('acquirer = "00310000"', "acquirer = 310000", r"line 1: acquirer"),
        ("port = 18504", "port = = 1", r"line 7"),
    ],
)
def test_a_broken_file_is_named_with_line_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "banks.toml"
    path.write_text(ENTRY.replace(old, new), "utf-8")

    with pytest.raises(DirectoryError, match=message):
        load_directory(path)


def test_two_banks_cannot_share_an_address() -> None:
    second = ENTRY.split("\n\n")[1].replace("bank.ICBC", "bank.CCB")

    with pytest.raises(DirectoryError, match=r"bank\.CCB\.port: has the address of bank\.ICBC"):
        parse_directory(ENTRY + "\n" + second, "banks.toml")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DirectoryError, match=r"nowhere\.toml"):
        load_directory(tmp_path / "nowhere.toml")

"""Settings come from defaults, TOML and environment in that order, and a wrong one is refused by name."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from settlement.config import ConfigError, Settings, describe, load_settings


def test_defaults_are_usable_without_any_configuration() -> None:
    settings = load_settings({})
    assert settings.database_url is None
    assert settings.data_dir == Path.cwd() / ".data"
    assert settings.cut_over == dt.time(0)
    assert settings.idempotency_retention_days == 400
    assert settings.master_key_path == Path.cwd() / ".data" / "master.key"


def test_environment_goes_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "settlement.toml"
    file.write_text('http_port = 9000\nbatch_max = 7\ncut_over = "23:00"\nallow_weak_durability = true\n')
    settings = load_settings({"SETTLEMENT_HTTP_PORT": "9001"}, file)
    assert (settings.http_port, settings.batch_max, settings.cut_over) == (9001, 7, dt.time(23))
    assert settings.allow_weak_durability is True


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "settlement.toml"
    file.write_text("cut_over = 22:30:00\nquote_ttl_s = 60\n")
    settings = load_settings({"SETTLEMENT_CONFIG": str(file)})
    assert (settings.cut_over, settings.quote_ttl_s) == (dt.time(22, 30), 60)


def test_an_empty_variable_counts_as_not_set_and_other_variables_are_not_looked_at() -> None:
    environ = {
        "SETTLEMENT_HTTP_PORT": "",
        "SETTLEMENT_TEST_DATABASE_URL": "x",
        "HOME": "/",
        "settlement_http_port": "1",
    }
    assert load_settings(environ) == Settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTP_PORT", "65536"),
        ("HTTP_PORT", "-1"),
        ("HTTP_PORT", "80.5"),
        ("HTTP_PORT", "8e3"),
        ("HTTP_PORT", "1_000"),
        ("HTTP_PORT", "NaN"),
        ("HTTP_PORT", "٣"),
        ("HTTP_PORT", "9" * 30),
        ("CUT_OVER", "24:00"),
        ("CUT_OVER", "8:00"),
        ("CUT_OVER", "08:00+08:00"),
        ("LOG_FORMAT", "xml"),
        ("ALLOW_WEAK_DURABILITY", "perhaps"),
        ("DATA_DIR", "a\0b"),
        ("QUOTE_TTL_S", "0"),
    ],
)
def test_a_bad_value_is_refused_by_key_value_and_expectation(variable: str, value: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_settings({f"SETTLEMENT_{variable}": value})
    assert str(refused.value).startswith(f"SETTLEMENT_{variable} = {value!r}: expected ")


@pytest.mark.parametrize(("key", "value"), [("MASTER_KEY", "00112233"), ("DATABASE_URL", "mysql://me:hunter2@host/db")])
def test_a_bad_secret_is_refused_without_showing_it(key: str, value: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_settings({f"SETTLEMENT_{key}": value})
    assert value not in str(refused.value)
    assert f"SETTLEMENT_{key} = (hidden): expected " in str(refused.value)


def test_variables_of_the_terminal_kit_are_no_settings() -> None:
    assert load_settings({"SETTLEMENT_CRYPTO_BACKEND": "openssl", "SETTLEMENT_TERMINAL_HOME": "x"}) == Settings()
    with pytest.raises(ConfigError, match="unknown setting SETTLEMENT_CRYPTO_BACKENDS"):
        load_settings({"SETTLEMENT_CRYPTO_BACKENDS": "openssl"})


def test_an_unknown_key_is_refused_with_the_likely_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown setting SETTLEMENT_HTTP_PROT; did you mean SETTLEMENT_HTTP_PORT"):
        load_settings({"SETTLEMENT_HTTP_PROT": "1"})
    file = tmp_path / "settlement.toml"
    file.write_text("http_prot = 1\n")
    with pytest.raises(ConfigError, match=r"settlement.toml: unknown setting http_prot; did you mean http_port"):
        load_settings({}, file)


@pytest.mark.parametrize("line", ["http_port = true", "http_port = 1.5", "http_port = [1]", "log_level = 3"])
def test_a_value_of_the_wrong_toml_type_is_refused(tmp_path: Path, line: str) -> None:
    file = tmp_path / "settlement.toml"
    file.write_text(line)
    with pytest.raises(ConfigError, match=r"settlement.toml: (http_port|log_level) = .*: expected "):
        load_settings({}, file)


def test_a_file_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the configuration file .*nowhere.toml"):
        load_settings({}, tmp_path / "nowhere.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("http_port = \n")
    with pytest.raises(ConfigError, match=r"broken.toml is not valid TOML"):
        load_settings({}, broken)


def test_settings_made_in_code_are_checked_too() -> None:
    with pytest.raises(ConfigError, match="db_pool_min = 5: expected at most db_pool_max, which is 4"):
        Settings(db_pool_min=5, db_pool_max=4)
    with pytest.raises(ConfigError, match="http_port = 70000"):
        Settings(http_port=70_000)


def test_secrets_are_not_in_the_printed_form() -> None:
    settings = Settings(database_url="postgresql://me:hunter2@host/db", master_key="ab" * 32)
    assert "hunter2" not in repr(settings)
    assert "abab" not in repr(settings)


def test_every_setting_is_described_and_its_default_passes_its_own_check() -> None:
    described = describe()
    assert [item.key for item in described][:2] == ["database_url", "data_dir"]
    for item in described:
        assert item.meaning.endswith("."), item.key
        if item.default:
            load_settings({item.variable: item.default})

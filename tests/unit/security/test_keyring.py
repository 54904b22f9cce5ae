"""The master key's file and the keys derived from it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from settlement.security import KeyRing, KeyRingError


def test_a_new_key_file_is_private_and_gives_the_same_keys_when_loaded(tmp_path: Path) -> None:
    path = tmp_path / "new" / "master.key"
    made = KeyRing.create_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    assert KeyRing.from_file(path).derive("x") == made.derive("x")


def test_an_existing_key_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    KeyRing.create_file(path)
    before = path.read_bytes()
    with pytest.raises(KeyRingError, match="already"):
        KeyRing.create_file(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o622, 0o777])
def test_a_key_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "master.key"
    KeyRing.create_file(path)
    path.chmod(mode)
    with pytest.raises(KeyRingError, match="chmod 600"):
        KeyRing.from_file(path)


def test_missing_malformed_and_odd_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyRingError, match="settlement init"):
        KeyRing.from_file(tmp_path / "nowhere")
    short = tmp_path / "short.key"
    short.write_text("ab" * 31)
    short.chmod(0o600)
    with pytest.raises(KeyRingError, match="64 hex digits") as refused:
        KeyRing.from_file(short)
    assert "abab" not in str(refused.value)
    with pytest.raises(KeyRingError, match="cannot read"):
        KeyRing.from_file(tmp_path)


def test_someone_elses_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "master.key"
    KeyRing.create_file(path)
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(KeyRingError, match="another user"):
        KeyRing.from_file(path)


def test_the_key_given_in_hex_goes_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    KeyRing.create_file(path)
    given = KeyRing.load(path, "0f" * 32)
    assert given.derive("x") == KeyRing.from_hex("0F" * 32).derive("x") != KeyRing.load(path).derive("x")


def test_keys_differ_by_name_and_hide_themselves() -> None:
    keys = KeyRing(bytes(range(32)))
    assert keys.derive("a") != keys.derive("b")
    assert len(keys.derive("a", 16)) == 16
    assert repr(keys) == "KeyRing(...)"
    with pytest.raises(KeyRingError, match="32 bytes, not 16"):
        KeyRing(b"\0" * 16)

"""The virtual environment that ``make`` prepares: when it is used again and when it is made anew."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The bootstrap script, at work in an empty folder."""
    monkeypatch.delenv("PYTHON", raising=False)
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "scripts" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    place(module, tmp_path, monkeypatch)
    return module


def place(bootstrap: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv = root / ".venv"
    for name, path in {
        "ROOT": root,
        "VENV": venv,
        "VENV_PYTHON": venv / "bin" / "python",
        "STAMP": venv / "bootstrap.json",
        "UNFINISHED": venv / ".unfinished",
    }.items():
        monkeypatch.setattr(bootstrap, name, path)


def test_an_environment_is_used_again_only_where_it_was_made_and_when_it_was_finished(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tmp_path / "first place"
    first.mkdir()
    place(bootstrap, first, monkeypatch)
    assert not bootstrap.usable()
    bootstrap.create()
    assert not bootstrap.usable(), "it is unfinished until everything is installed"
    bootstrap.UNFINISHED.unlink()
    assert bootstrap.usable()
    assert bootstrap.reusable()
    second = first.rename(tmp_path / "second place")
    place(bootstrap, second, monkeypatch)
    assert not bootstrap.reusable(), "its commands hold the path of the first place"
    bootstrap.VENV_PYTHON.unlink()
    bootstrap.VENV_PYTHON.symlink_to("/nowhere/python")
    assert not bootstrap.usable(), "its Python was removed"


def test_what_is_installed_is_recorded_whole_or_not_at_all(bootstrap: ModuleType) -> None:
    bootstrap.VENV.mkdir()
    assert bootstrap.read_stamp() == {}
    bootstrap.write_stamp({"dev": "x"})
    assert bootstrap.read_stamp() == {"dev": "x"}
    bootstrap.STAMP.write_text('{"dev": ')
    assert bootstrap.read_stamp() == {}


def test_a_missing_system_package_is_named_with_its_command(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = Path("/usr/bin/python3").resolve()
    monkeypatch.setattr(bootstrap.sys, "executable", str(system))
    assert "apt-get install python3-venv" in bootstrap.advice(["ensurepip"])
    monkeypatch.setattr(bootstrap.sys, "executable", f"{system}.other")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert f"apt-get install python{version}-venv" in bootstrap.advice(["ensurepip"])
    monkeypatch.setattr(bootstrap.sys, "executable", "/opt/python/bin/python3")
    assert "make PYTHON=" in bootstrap.advice(["ensurepip"])


def test_a_python_that_does_not_fit_is_refused() -> None:
    done = subprocess.run(
        [str(ROOT / "scripts" / "bootstrap"), "dev"],
        env={"PATH": "/usr/bin:/bin", "PYTHON": "/bin/false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "PYTHON=/bin/false is not a Python from 3.11 to 3.13" in done.stderr

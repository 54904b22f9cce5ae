"""Both wheels, built once, and an empty virtual environment with nothing but the terminal kit and what it requires."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
KIT = "settlement-terminal-sdk"


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of each package, built from a copy of the tree: {"settlement": …, "settlement-terminal-sdk": …}."""
    folder = tmp_path_factory.mktemp("wheels")
    tree = folder / "tree"
    shutil.copytree(ROOT / "terminal_sdk", tree / "terminal_sdk", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "settlement", tree / "settlement", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tree)
    built = {}
    for name, home in (("settlement", tree), (KIT, tree / "terminal_sdk")):
        run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder / name, home)
        (built[name],) = (folder / name).glob("*.whl")
    return built


@pytest.fixture(scope="session")
def empty_environment(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the kit's wheel and, copied from here, what its metadata require."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps", wheels[KIT])
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    for name in required(KIT, set()) - {KIT}:
        copy_distribution(name, site)
    return python


def required(name: str, seen: set[str]) -> set[str]:
    """A distribution and all that it requires here, without extras."""
    name = re.sub(r"[-_.]+", "-", name).lower()
    if name not in seen:
        seen.add(name)
        for line in importlib.metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                required(requirement.name, seen)
    return seen


def copy_distribution(name: str, site: Path) -> None:
    """Copy an installed distribution's files, as its record lists them."""
    distribution = importlib.metadata.distribution(name)
    for file in distribution.files or []:
        if ".." not in file.parts and "__pycache__" not in file.parts:
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(distribution.locate_file(file)), target)


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout

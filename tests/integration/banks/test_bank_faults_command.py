"""The command that makes a running bank host misbehave, and the panel behind it."""

from __future__ import annotations

import asyncio

import pytest
from click.testing import CliRunner, Result

from settlement.banks.port import BankOutcome
from settlement.cli.bank_faults import bank_faults
from settlement.stubs.bankhost.client import AdminError
from settlement.stubs.bankhost.wire import FaultSpec, Match


async def call(world, *arguments: str) -> Result:
    at = ["--admin", world.admin._base_url]
    return await asyncio.to_thread(CliRunner().invoke, bank_faults, [*arguments, *at])


async def test_faults_are_set_shown_and_taken_away(world, wait_until) -> None:
    added = await call(world, "add", "answer_code", "--bank", "BOSC", "--mti", "0200", "--code", "96", "--count", "2")
    assert added.output == "1 BOSC answer_code mti=0200 played 0, 2 left\n"
    assert (await world.links.debit(world.order(), world.soon)).response_code == "96"
    always = await call(world, "add", "accept_silent", "--count", "0")
    assert always.output == "2 any accept_silent played 0, always\n"
    shown = await call(world, "list")
    assert shown.output == "1 BOSC answer_code mti=0200 played 1, 1 left\n2 any accept_silent played 0, always\n"

    assert (await call(world, "hang-up", "--bank", "BOSC")).exit_code == 0
    await wait_until(lambda: not world.state().ready)
    assert (await call(world, "clear")).exit_code == 0
    await wait_until(lambda: world.state().ready)
    assert (await world.links.debit(world.order(), world.soon)).outcome is BankOutcome.APPROVED


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "explode"], "'explode' is not one of"),
        (["add", "close", "--mti", "02"], "match.mti"),
        (["add", "accept_close", "--mti", "0200"], "leave match out"),
        (["add", "close", "--bank", "HSBC"], "NO_SUCH_BANK"),
    ],
)
async def test_what_cannot_be_played_is_refused_with_a_reason(world, arguments: list[str], said: str) -> None:
    refused = await call(world, *arguments)
    assert refused.exit_code != 0
    assert said in refused.output


async def test_without_a_host_it_says_so() -> None:
    away = ["list", "--admin", "http://127.0.0.1:1"]
    refused = await asyncio.to_thread(CliRunner().invoke, bank_faults, away)
    assert refused.exit_code == 1
    assert "no bank host answers at http://127.0.0.1:1" in refused.output


async def test_a_fault_of_one_network_message_leaves_the_others_alone(world) -> None:
    session = world.links._links["BOSC"]._keeper.session
    await world.admin.add_fault(
        FaultSpec(action="drop_before_commit", match=Match(mti="0800", network_code="001"), count=None)
    )
    await session.echo()
    with pytest.raises(AdminError, match="leave match out"):
        await world.admin.add_fault(FaultSpec(action="accept_close", match=Match(mti="0800")))

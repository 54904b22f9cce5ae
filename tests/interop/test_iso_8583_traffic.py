"""Real frames between service and bank host, heard on the wire and decoded by the npm package ``iso_8583``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from settlement.banks.directory import bank_file, derive_zone_keys
from settlement.banks.iso.codec import unpack
from settlement.bootstrap import zone_master_key
from settlement.stubs.bankhost.wire import FaultSpec, Match
from terminal_sdk import Declined, Reversed, Settled
from terminal_sdk.card import CardImage, VirtualCard
from tests.interop.link_keys import derived, opened
from tests.interop.node import Node
from tests.interop.recording import Frame, listening
from tests.interop.tills import PIN, pay
from tests.support.database import TestDatabases
from tests.support.service import BANK_TIMEOUT_MS, RunningService, present, running_service, test_directory


@dataclass(frozen=True, slots=True)
class Heard:
    """All frames of the stories below, the zone master keys by bank, and the account numbers that paid."""

    frames: list[Frame]
    zone_keys: dict[str, bytes]
    pans: set[str]


@pytest.fixture(scope="module")
async def heard(database: TestDatabases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Heard]:
    """A service whose way to its banks leads over our wire, and a bill of every fate."""
    async with running_service(await database.create(), tmp_path_factory.mktemp("service")) as service:
        await service.process.stop()
        async with listening(service.host.ports) as (wire, ports):
            directory = test_directory(ports, BANK_TIMEOUT_MS)
            (service.folder / "banks.toml").write_text(bank_file(directory), "utf-8")
            await service.process.start()
            pans = await tell_stories(service)
            await service.process.stop()  # signs off
            zone_keys = derive_zone_keys(zone_master_key(service.base.keys), directory)
        yield Heard(wire.frames, {bank.code: zone_keys[bank.zone_key] for bank in directory}, pans)


async def tell_stories(service: RunningService) -> set[str]:
    """Each way in which a bank is spoken to; the account numbers that paid."""
    rich = await service.issue_card(current_year_fen=300, bank_fen=9_000_000, bank="ICBC")
    poor = await service.issue_card(bank_fen=5, bank="ICBC")
    uninquired = await service.issue_card(bank_fen=9_000, bank="SRCB")  # a bank without inquiry
    card = VirtualCard(rich)
    async with service.terminal() as terminal:

        async def paid(amount_fen: int) -> Settled:
            with present(card) as session:
                result = await pay(terminal, session, amount_fen)
            assert isinstance(result, Settled)
            return result

        async def taken_back(bill: Settled) -> None:
            await terminal.reverse(settlement_id=bill.settlement_id)
            await service.until_final()

        await taken_back(await paid(1_000))  # void
        last = await paid(12_345_67)
        await service.bank.cut_over("ICBC")
        await taken_back(last)  # void, refused as too late, and refund
        await _lose_the_next_answer(service, rich)
        await paid(2_000)  # inquiry
        with present(VirtualCard(poor)) as session:
            assert isinstance(await pay(terminal, session, 1_000), Declined)
        await _lose_the_next_answer(service, uninquired)
        with present(VirtualCard(uninquired)) as session:
            assert isinstance(await pay(terminal, session, 1_000, deadline_ms=2_000), Reversed)  # reversal (0400)
        await service.until_final()
    return {image.pan for image in (rich, poor, uninquired) if image.pan}


async def _lose_the_next_answer(service: RunningService, image: CardImage) -> None:
    match = Match(mti="0200", pan=image.pan)
    await service.bank.add_fault(FaultSpec(action="drop_after_commit", bank=image.bank_code, match=match))


def decoded(node: Node, frame: Frame) -> dict[str, str]:
    """The fields as the package finds them; ``0`` is the message type."""
    fields: dict[str, str] = node.call("iso.decode", frame=frame.data.hex())
    return fields


def test_every_kind_of_message_was_heard(node: Node, heard: Heard) -> None:
    messages = [decoded(node, frame) for frame in heard.frames]
    codes = {
        "0200": {"000000", "200000"},  # debit, void
        "0220": {"200000"},
        "0400": {"000000"},
        "0600": {"330000"},
        "0800": {"001", "002", "101"},  # sign-on, sign-off, key change
    }
    assert {(each["0"], each.get("3") or each["70"]) for each in messages} == {
        (mti[:2] + str(int(mti[2]) + answer) + "0", code)
        for mti, known in codes.items()
        for answer in (0, 1)
        for code in known
    }
    answers = {(each["0"], each["39"]) for each in messages if "39" in each}
    assert {("0210", "00"), ("0210", "51"), ("0210", "13"), ("0230", "00"), ("0410", "00"), ("0610", "00")} <= answers


def test_both_decode_every_field_alike(node: Node, heard: Heard) -> None:
    for frame in heard.frames:
        there, here = decoded(node, frame), unpack(frame.data[2:])
        mac = there.pop("128", None) or there.pop("64")
        assert {"t" if number == "0" else number: value for number, value in there.items()} == here.fields
        assert mac == here.body[-16:].decode("ascii")


def test_the_account_numbers_are_where_they_belong(node: Node, heard: Heard) -> None:
    """Field 2 of every request that moves money, and of no answer."""
    for frame in heard.frames:
        fields = decoded(node, frame)
        asks = frame.direction == "to_bank" and fields["0"] != "0800"
        assert ("2" in fields) is asks
        assert not asks or fields["2"] in heard.pans


def test_an_answer_repeats_what_identifies_its_request(node: Node, heard: Heard) -> None:
    requests = []
    for frame in heard.frames:
        fields = decoded(node, frame)
        identity = (frame.bank, frame.connection, *(fields[number] for number in ("7", "11", "37", "41")))
        if frame.direction == "to_bank":
            requests.append((identity, fields["0"]))
        else:
            assert (identity, fields["0"][:2] + str(int(fields["0"][2]) - 1) + "0") in requests


def test_every_mac_is_made_anew_there(node: Node, heard: Heard) -> None:
    """An eavesdropper with the zone master keys: working keys are opened and every MAC made in JavaScript."""
    for frame, _, keys in with_keys(node, heard):
        assert node.call("iso.macIsValid", frame=frame.data.hex(), macKey=keys[:16].hex())
        assert not node.call("iso.macIsValid", frame=frame.data.hex(), macKey=bytes(16).hex())


def test_every_pin_is_opened_there(node: Node, heard: Heard) -> None:
    """ISO 9564 format 4: the block is E(E(PIN field) xor account number field), under the bank's working PIN key."""
    for _, fields, keys in with_keys(node, heard):
        debit = (fields["0"], fields.get("3")) == ("0200", "000000")
        assert ("52" in fields) is debit
        if debit:
            number = int(f"{len(fields['2']) - 12}{fields['2']}".ljust(32, "0"), 16)
            inner = node.call("sm4.decrypt", data=fields["52"], key=keys[16:].hex())
            opened = node.call("sm4.decrypt", data=f"{int(inner, 16) ^ number:032x}", key=keys[16:].hex())
            assert opened.startswith(f"46{PIN}aaaaaaaa")


def with_keys(node: Node, heard: Heard) -> Iterator[tuple[Frame, dict[str, str], bytes]]:
    """Every frame, its fields, and the MAC key (16 bytes) and PIN key (16) that it was made with; none made by ours."""
    keys: dict[tuple[int, str], bytes] = {}
    for frame in heard.frames:
        fields, zone_key = decoded(node, frame), heard.zone_keys[frame.bank]
        if fields["0"] in {"0800", "0810"}:
            yield frame, fields, bytes.fromhex(derived(node, zone_key, frame.bank, "bank-network-mac"))
        else:
            yield frame, fields, keys[frame.connection, fields["53"]]
        if "48" in fields:
            keys[frame.connection, fields["53"]] = opened(node, zone_key, frame.bank, fields)


def test_what_the_package_says_against_our_fields(node: Node, heard: Heard) -> None:
    """Nothing by our dialect. By its own table, four lengths, which docs/reference/bank-link.md explains."""
    by_own_table = set()
    for frame in heard.frames:
        fields = decoded(node, frame)
        assert node.call("iso.isValid", fields=fields)
        assert node.call("iso.faults", fields=fields) == {}
        by_own_table |= set(node.call("iso.faults", fields=fields, byOwnTable=True).items())
    assert by_own_table == {
        (number, f"invalid length of data on field {number}") for number in ("52", "53", "64", "128")
    }

"""Messages made by the npm package ``iso_8583``: read by our codec, and answered by a bank host; and the tables."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from settlement.banks.directory import default_directory, derive_zone_keys
from settlement.banks.iso.codec import MAC_BYTES, pack, unpack
from settlement.banks.iso.framing import frame
from settlement.banks.iso.spec import PATTERNS, SPEC, Mti
from settlement.stubs.bankhost.client import BankHostAdmin
from settlement.stubs.bankhost.process import BankHostProcess
from settlement.stubs.bankhost.wire import AccountSpec
from tests.interop.link_keys import derived, opened
from tests.interop.node import Node

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "bank-link.md"
BANK = "ICBC"
PAN = "6222021234567890128"
KEY = bytes(range(16))

few = settings(max_examples=25, deadline=None)
NUMBERS = sorted(PATTERNS.keys() - {"t", "64", "128"}, key=int)
HIGH = {number for number in NUMBERS if int(number) > 64}

CONTENTS = {number: st.from_regex(PATTERNS[number], fullmatch=True) for number in NUMBERS}
CONTENTS["42"] = CONTENTS["42"].map(lambda text: text.ljust(15)[:15])  # the pattern leaves the padding to the length


@st.composite
def messages(draw: st.DrawFn, numbers: list[str]) -> dict[str, str]:
    """Any of the dialect's types with any of these fields, each with anything that the field may hold."""
    chosen = draw(st.sets(st.sampled_from(numbers), min_size=1))
    fields = {number: draw(CONTENTS[number]) for number in sorted(chosen, key=int)}
    return {"t": draw(st.sampled_from(list(Mti))).value, **fields}


def there(fields: dict[str, str]) -> dict[str, str]:
    """The fields as the package names them."""
    return {"0" if number == "t" else number: value for number, value in fields.items()}


@given(fields=messages(NUMBERS))
@few
def test_what_we_write_is_read_there(node: Node, fields: dict[str, str]) -> None:
    body = pack(fields, KEY)
    mac = {"128" if HIGH & fields.keys() else "64": body[-2 * MAC_BYTES :].decode("ascii")}
    whole = frame(body).hex()
    assert node.call("iso.decode", frame=whole) == there(fields) | mac
    assert node.call("iso.macIsValid", frame=whole, macKey=KEY.hex())
    assert node.call("iso.isValid", fields=there(fields) | mac)


@given(fields=messages(NUMBERS))
@few
def test_what_they_write_is_read_here(node: Node, fields: dict[str, str]) -> None:
    built = bytes.fromhex(node.call("iso.build", fields=there(fields), macKey=KEY.hex()))
    message = unpack(built[2:])
    assert message.fields == fields
    assert message.mac_is_valid(KEY)
    assert not message.mac_is_valid(bytes(16))
    if HIGH & fields.keys():  # otherwise we write one bitmap, and the package two
        assert built == frame(pack(fields, KEY))


class JavaScriptBankLink:
    """One connection to a bank, its messages made and read in JavaScript; only the bytes pass through here."""

    def __init__(self, node: Node, zone_key: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._node = node
        self._zone_key = zone_key
        self._reader = reader
        self._writer = writer
        self._traces = 0
        self._terminal = secrets.token_hex(4).upper()  # so that no two links send the same message
        self.mac_key = ""
        self.generation = ""

    async def network(self, code: str) -> dict[str, str]:
        """A network message; its answer, whose MAC was verified."""
        fields = self._identified("0800", terminal="00000000") | {"70": code}
        return await self._exchange(fields, derived(self._node, self._zone_key, BANK, "bank-network-mac"))

    async def sign_on(self) -> None:
        """Sign on and fetch working keys."""
        assert (await self.network("001"))["39"] == "00"
        answer = await self.network("101")
        assert answer["39"] == "00"
        self.mac_key = opened(self._node, self._zone_key, BANK, answer)[:16].hex()
        self.generation = answer["53"]

    def debit(self, amount_fen: int) -> dict[str, str]:
        """The fields of a debit without a PIN."""
        return self._financial("0200", "000000", amount_fen)

    def undoing(self, mti: str, code: str, debit: dict[str, str], amount_fen: int | None = None) -> dict[str, str]:
        """The fields of a void, refund, reversal or inquiry of this debit."""
        named = "0200" + debit["11"] + debit["7"] + debit["32"].zfill(11) + "0" * 11
        fields = self._financial(mti, code, int(debit["4"]) if amount_fen is None else amount_fen)
        return fields | {"61": debit["37"] + debit["41"], "90": named}

    async def ask(self, fields: dict[str, str], mac_key: str | None = None) -> dict[str, str]:
        """Send a message under the working key (or another); its answer, whose MAC was verified."""
        return await self._exchange(fields, mac_key or self.mac_key)

    def _financial(self, mti: str, code: str, amount_fen: int) -> dict[str, str]:
        return self._identified(mti, terminal=self._terminal) | {
            "2": PAN,
            "3": code,
            "4": f"{amount_fen:012d}",
            "12": "120000",
            "13": "1124",
            "32": "48880000",
            "42": "H31010100001   ",
            "49": "156",
            "53": self.generation,
        }

    def _identified(self, mti: str, *, terminal: str) -> dict[str, str]:
        self._traces += 1
        return {
            "0": mti,
            "7": "1124040000",
            "11": f"{self._traces:06d}",
            "37": f"{self._traces:012d}",
            "41": terminal,
        }

    async def _exchange(self, fields: dict[str, str], mac_key: str) -> dict[str, str]:
        built = self._node.call("iso.build", fields=fields, macKey=mac_key)
        self._writer.write(bytes.fromhex(built))
        async with asyncio.timeout(10):
            length = await self._reader.readexactly(2)
            answered = (length + await self._reader.readexactly(int.from_bytes(length, "big"))).hex()
        answer: dict[str, str] = self._node.call("iso.decode", frame=answered)
        answers_key = mac_key if fields["0"] == "0800" else self.mac_key
        assert self._node.call("iso.macIsValid", frame=answered, macKey=answers_key)
        assert self._node.call("iso.isValid", fields=answer)
        assert [answer[number] for number in ("7", "11", "37", "41")] == [fields[n] for n in ("7", "11", "37", "41")]
        return answer


@pytest.fixture(scope="module")
async def bank_host(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[BankHostProcess, bytes]]:
    """A bank host as a process of its own, and the bank's zone master key."""
    master = secrets.token_bytes(16)
    host = BankHostProcess(tmp_path_factory.mktemp("host"), master, banks=[BANK])
    await host.start()
    directory = default_directory()
    yield host, derive_zone_keys(master, directory)[directory[BANK].zone_key]
    await host.stop()


@pytest.fixture
async def link(node: Node, bank_host: tuple[BankHostProcess, bytes]) -> AsyncIterator[JavaScriptBankLink]:
    """Signed on, with an account of 100 yuan at the bank."""
    host, zone_key = bank_host
    async with BankHostAdmin(host.admin_url) as admin:
        await admin.put_accounts([AccountSpec(bank=BANK, pan=PAN, balance_fen=10_000)])
    reader, writer = await asyncio.open_connection("127.0.0.1", host.ports[BANK])
    link = JavaScriptBankLink(node, zone_key, reader, writer)
    await link.sign_on()
    yield link
    writer.close()
    await writer.wait_closed()


async def test_a_bank_host_answers_a_client_in_javascript(
    link: JavaScriptBankLink, bank_host: tuple[BankHostProcess, bytes]
) -> None:
    async with BankHostAdmin(bank_host[0].admin_url) as admin:

        async def balance() -> int:
            return (await admin.account(BANK, PAN)).balance_fen

        voided, refunded, reversed_ = (link.debit(amount_fen) for amount_fen in (1_000, 2_000, 3_000))
        for debit in (voided, refunded, reversed_):
            answer = await link.ask(debit)
            assert (answer["0"], answer["3"], answer["39"], answer["4"]) == ("0210", "000000", "00", debit["4"])
        assert await balance() == 4_000
        assert (await link.ask(link.debit(9_000)))["39"] == "51"
        inquiry = await link.ask(link.undoing("0600", "330000", voided))
        assert (inquiry["0"], inquiry["39"], inquiry["62"][:3]) == ("0610", "00", "00L")

        undone = [
            await link.ask(link.undoing("0200", "200000", voided)),
            await link.ask(link.undoing("0220", "200000", refunded, amount_fen=500)),
            await link.ask(link.undoing("0400", "000000", reversed_)),
        ]
        assert [(each["0"], each["39"]) for each in undone] == [("0210", "00"), ("0230", "00"), ("0410", "00")]
        assert await balance() == 4_000 + 1_000 + 500 + 3_000
        books = [(item.kind, item.state) async for item in admin.books(BANK) if item.state != "declined"]
    assert books == [
        ("debit", "voided"),
        ("debit", "partly_refunded"),
        ("debit", "reversed"),
        ("void", "done"),
        ("refund", "done"),
        ("reversal", "done"),
    ]
    assert (await link.network("301"))["39"] == "00"
    assert (await link.network("002"))["39"] == "00"


async def test_a_wrong_mac_is_refused(link: JavaScriptBankLink) -> None:
    """The answer (A0) is made with the right key, and nothing was booked."""
    debit = link.debit(1_000)
    assert (await link.ask(debit, mac_key=bytes(16).hex()))["39"] == "A0"
    assert (await link.ask(link.undoing("0600", "330000", debit)))["39"] == "25"


def test_the_package_has_our_fields_as_we_have_them_but_for_those_that_the_page_names(node: Node) -> None:
    departures = set(node.call("iso.departures"))
    kinds = {"fixed": 0, "llvar": 2, "lllvar": 3}
    agreeing = set()
    for number in PATTERNS.keys() - {"t"}:
        own, ours = node.call("iso.ownFormat", field=number), SPEC[number]
        same_kind = kinds[own["length"]] == ours["len_type"]
        room = own["most"] == ours["max_len"] if own["length"] == "fixed" else own["most"] >= ours["max_len"]
        if same_kind and room:
            agreeing.add(number)
    assert PATTERNS.keys() - {"t"} - agreeing == departures - {"1"}
    table = PAGE.read_text("utf-8").split("## Against the tables of `iso_8583`")[1].split("\n## ")[0]
    named = {number for row in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE) for number in row.split(", ")}
    assert named == departures - {"1"}  # the bitmaps


def test_every_message_type_is_one_of_1987(node: Node) -> None:
    named = {mti.value: node.call("iso.messageType", type=mti.value) for mti in Mti}
    assert None not in named.values()
    # What we use them for is said in docs/reference/bank-link.md; these three are named otherwise by the standard.
    assert (named["0220"], named["0420"], named["0600"]) == (
        "Financial Transaction Advice",
        "Reversal advice",
        "Administration request",
    )

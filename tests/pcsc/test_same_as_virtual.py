"""The same card gives the same bytes through the virtual reader and through a real PC/SC daemon."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import msgspec
import pytest

from terminal_sdk import FeeLine, Settled, Terminal, wire
from terminal_sdk.card import CardImage, CardSession, VirtualCard
from terminal_sdk.reader import CardReader, Interface, TracingReader, VirtualReader
from terminal_sdk.reader.pcsc import PcscReader
from terminal_sdk.signing import card_signed_message
from tests.pcsc.chips import seeded_card
from tests.pcsc.conftest import Plug
from tests.pcsc.daemon import Daemon
from tests.support.service import RunningService

PIN = "123456"
COUNTER = 41
BILL: dict[str, Any] = {
    "terminal_id": "T0000001",
    "visit_no": "V1",
    "total_fen": 12_345,
    "agreed": "ceiling:5000",
    "now": dt.datetime(2019, 1, 1, 0, 30, tzinfo=dt.UTC),
}
PROVE = "> 0088000020"
PROOF = "< 000000"


def whole_presence(reader: CardReader) -> tuple[list[str], list[object]]:
    """Everything a terminal ever does with a card: the trace, unmasked but for the PIN, and what came of it."""
    trace: list[str] = []
    with CardSession(TracingReader(reader, trace.append, reveal=True)) as session:
        locked = session.read()
        if session.kind == "third_generation":
            session.verify_pin(PIN)
        return trace, [locked, session.read(), session.prove(**BILL)]


@pytest.mark.parametrize(("kind", "interface"), [("third", "contact"), ("third", "contactless"), ("legacy", "contact")])
def test_the_same_bytes(pcscd: Daemon, plug: Plug, request: Any, kind: str, interface: Interface) -> None:
    """Two cards of one image, at one counter, with nonces that come from key and message: every byte must be equal."""
    image: CardImage = request.getfixturevalue(f"{kind}_image")
    virtual = whole_presence(VirtualReader(seeded_card(image, COUNTER), interface))
    plug(seeded_card(image, COUNTER), interface=interface)
    real = whole_presence(PcscReader("Till reader 00 00"))

    assert real == virtual
    trace, (_, _, proof) = real
    assert len(trace) > 60
    assert not [line for line in trace if line.startswith("> 0020") and PIN in line]
    if isinstance(proof, wire.CardProof):
        assert proof.counter == COUNTER + 1
        command = next(line for line in trace if line.startswith(PROVE))
        message = card_signed_message(image.card_number, proof.counter, bytes.fromhex(command.removeprefix(PROVE)[:64]))
        image.certificate().public_key.verify(message, bytes.fromhex(proof.signature))


async def pay(terminal: Terminal, reader: CardReader, visit_no: str, pin: str) -> tuple[list[str], wire.Receipt]:
    """Settle a bill of 50 yuan, 20 of which no insurance pays, and fetch the receipt."""
    trace: list[str] = []
    with CardSession(TracingReader(reader, trace.append, reveal=True)) as card:
        result = await terminal.settle(
            card=card,
            bank_ceiling_fen=2_000,
            pin=pin,
            visit_no=visit_no,
            visit_type="pharmacy",
            service_date=dt.datetime.now(dt.UTC).date(),
            lines=[
                FeeLine(line_no=1, item_code="86900001", item_name="阿莫西林胶囊", category="A", amount_fen=3_000),
                FeeLine(line_no=2, item_code="86900002", item_name="维生素", category="C", amount_fen=2_000),
            ],
        )
    assert isinstance(result, Settled)
    assert result.settlement.receipt_id is not None
    return trace, await terminal.receipt(result.settlement.receipt_id)


def proof_in(trace: list[str], image: CardImage) -> tuple[int, list[str]]:
    """The counter of the one proof in a trace, whose signature is verified, and the trace without challenge and proof.

    Those are the only bytes that two bills of one card may differ in: the challenge binds visit and time, the counter
    rises, the signature covers both.
    """
    (at,) = (number for number, line in enumerate(trace) if line.startswith(PROVE))
    end = next(number for number in range(at + 1, len(trace)) if trace[number].startswith(PROOF))
    challenge = bytes.fromhex(trace[at].removeprefix(PROVE))[:32]
    answer = bytes.fromhex(trace[end].removeprefix("< "))
    counter, signature = int.from_bytes(answer[:4], "big"), answer[4:68]
    image.certificate().public_key.verify(card_signed_message(image.card_number, counter, challenge), signature)
    rest = [
        *trace[:at],
        PROVE + trace[at][len(PROVE) + 64 :],
        *trace[at + 1 : end],
        answer[68:].hex(),
        *trace[end + 1 :],
    ]
    return counter, rest


def without_names(receipt: wire.Receipt) -> dict[str, Any]:
    """A receipt without what names this one bill and its moment, in the fields and in the text."""
    assert receipt.bank is not None
    text = receipt.text
    for name in (receipt.settlement_id, receipt.visit_no, receipt.bank.reference, receipt.bank.authorisation):
        assert name
        assert name in text
        text = text.replace(name, "…")
    data = msgspec.to_builtins(receipt)
    for field in ("receipt_id", "settlement_id", "visit_no", "issued_at"):
        del data[field]
    for field in ("reference", "authorisation"):
        del data["bank"][field]
    return {**data, "text": re.sub(r"(?m)^时间 .*$", "时间 …", text)}


@pytest.mark.parametrize("interface", ["contact", "contactless"])
async def test_the_same_bill_settles_alike(
    service: RunningService, pcscd: Daemon, plug: Plug, interface: Interface
) -> None:
    image = await service.issue_card(current_year_fen=6_000, bank_fen=100_000)
    card = VirtualCard(image)
    async with service.terminal() as terminal:
        virtual, first = await pay(terminal, VirtualReader(card, interface), f"{interface}-1", image.pin)
        plug(card, interface=interface)
        real, second = await pay(terminal, PcscReader(), f"{interface}-2", image.pin)

    (counter_1, rest_1), (counter_2, rest_2) = proof_in(virtual, image), proof_in(real, image)
    assert (counter_1, counter_2) == (1, 2)
    assert rest_1 == rest_2
    assert without_names(first) == without_names(second)
    assert await service.live_debits(image) == [2_000, 2_000]

"""A ward's till with one patient: stays over HTTP, for tests against a running service."""

from __future__ import annotations

import datetime as dt
import secrets
from typing import Any

import msgspec

from settlement.cards.model import Coverage
from terminal_sdk.card import CardImage, VirtualCard
from tests.support.raw_terminal import SHANGHAI, Answer, RawTerminal
from tests.support.service import RunningService, present

PENSIONER = Coverage(
    valid_from=dt.date(2018, 1, 1), plan="employees", status="retired", retired_on=dt.date(2005, 6, 30)
)
"""In a stay: deductible 1200.00 a year, then the pooled fund pays 92 %; no current-year account."""
RESIDENT = Coverage(valid_from=dt.date(2018, 1, 1), plan="residents", status="resident")
TODAY = dt.datetime.now(dt.UTC).astimezone(SHANGHAI).date()


def key() -> str:
    """A new idempotency key."""
    return f"key-{secrets.token_hex(8)}"


def fee(number: int, fen: int, day: dt.date = TODAY, category: str = "A") -> dict[str, Any]:
    """A fee line of a stay."""
    facts = {"item_code": f"F{number}", "item_name": "床位费", "category": category, "quantity": "1"}
    return {"line_no": number, "amount_fen": fen, "service_date": day.isoformat(), **facts}


class Ward:
    """A ward's till with one patient."""

    def __init__(self, service: RunningService, till: RawTerminal, image: CardImage) -> None:
        self.service, self.till, self.image, self.card = service, till, image, VirtualCard(image)
        self.stay_id = ""
        self.stay_no = f"ZY{secrets.token_hex(5)}"

    @property
    def reference(self) -> dict[str, Any]:
        return {"card_number": self.image.card_number, "certificate_fingerprint": self.fingerprint}

    @property
    def fingerprint(self) -> str | None:
        with present(self.card) as session:
            return session.read().reference().certificate_fingerprint

    async def post(self, path: str, body: dict[str, Any]) -> Answer:
        return await self.till.call("POST", f"/v1/stays/{self.stay_id}{path}", body)

    async def admit(self, **changes: Any) -> Answer:
        body = {
            "idempotency_key": key(),
            "stay_no": self.stay_no,
            "visit_type": "inpatient",
            "card": self.reference,
            "admitted_on": (TODAY - dt.timedelta(days=300)).isoformat(),
        }
        answer = await self.till.call("POST", "/v1/stays", body | changes)
        if answer.status == 200:
            self.stay_id = answer.body["stay_id"]
        return answer

    async def upload(self, *fees: dict[str, Any], **changes: Any) -> Answer:
        body = {"idempotency_key": key(), "lines": list(fees), "total_fen": sum(each["amount_fen"] for each in fees)}
        return await self.post("/fees", body | changes)

    async def view(self) -> dict[str, Any]:
        body: dict[str, Any] = (await self.till.call("GET", f"/v1/stays/{self.stay_id}")).body
        return body

    async def trial(self, **changes: Any) -> Answer:
        return await self.post("/trial", {"card": self.reference} | changes)

    def settlement(self, part: str, total_fen: int, **changes: Any) -> dict[str, Any]:
        names = {"visit_no": self.stay_no, "total_fen": total_fen, "now": dt.datetime.now(dt.UTC)}
        with present(self.card) as session:
            proof = session.prove(terminal_id=self.till.terminal_id, agreed=f"ceiling:{total_fen}", **names)
            block = session.pin_block(self.image.pin, self.till.pin_key) if self.image.pan else None
        return {
            "idempotency_key": key(),
            "part": part,
            "card": self.reference,
            "total_fen": total_fen,
            "proof": msgspec.to_builtins(proof),
            "bank_ceiling_fen": total_fen,
            "pin_block": None if block is None else block.hex(),
        } | changes

    async def settle(self, part: str, total_fen: int, **changes: Any) -> Answer:
        return await self.post("/settlements", self.settlement(part, total_fen, **changes))

    async def deposit(self, fen: int, **changes: Any) -> Answer:
        request = self.settlement("final", fen)
        body = {name: request[name] for name in ("idempotency_key", "card", "proof", "pin_block")}
        return await self.post("/deposits", body | {"amount_fen": fen} | changes)

    async def refund(self, settlement: Answer, *lines: tuple[int, int | None]) -> Answer:
        wanted = [{"line_no": number, "amount_fen": fen} for number, fen in lines]
        body = {"idempotency_key": key(), "lines": wanted}
        answer = await self.till.call("POST", f"/v1/settlements/{settlement.body['settlement_id']}/refunds", body)
        await self.service.until_final()
        return answer

    async def reverse(self, settlement: Answer) -> Answer:
        path = f"/v1/settlements/{settlement.body['settlement_id']}/reversal"
        answer = await self.till.call("POST", path, {"idempotency_key": key()})
        await self.service.until_final()
        return answer

    async def counters(self) -> dict[tuple[int, str], int]:
        person = (await self.service.base.cards.load(self.image.card_number)).person_id
        rows = await self.service.base.pool.fetch("select * from accumulator where person_id = $1 and fen > 0", person)
        return {(row["insurance_year"], row["counter"]): row["fen"] for row in rows}


async def ward_of(
    service: RunningService, till: RawTerminal, coverage: Coverage | None = PENSIONER, **money: int
) -> Ward:
    """A new patient whom a plan covers; not admitted yet."""
    image = await service.issue_card(**money)
    assert await service.base.cards.cover(image.card_number, coverage)
    return Ward(service, till, image)


def payers_of(body: dict[str, Any]) -> dict[str, int]:
    """Who pays how much (fen) of a split; those who pay nothing are left out."""
    payers = ("pooled_fund", "additional_fund", "current_year", "carried_over", "deposit", "bank", "cash")
    return {payer: body[f"{payer}_fen"] for payer in payers if body[f"{payer}_fen"]}


def insurance_year(day: dt.date) -> int:
    """The insurance year of a day, by the plans from 2019 on."""
    return day.year - ((day.month, day.day) < (7, 1))

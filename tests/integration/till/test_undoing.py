"""Bills taken back, receipts printed again, the journal read: by number, by key, and the newest."""

from __future__ import annotations

import re
import uuid

from tests.integration.till.conftest import NewTill

UNKNOWN = "00000000-0000-7000-8000-000000000000"


async def test_taken_back_whole_and_printed(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=600, bank_fen=9_000)
    paid = await till.settle("ORDER-1", "--json")
    done = await till.run("reverse", "--last", "--yes", "--reason", "wrong patient")
    assert done.code == 0, done.err
    assert "reversed, not paid 已冲正" in done.out
    assert re.search(r"Given back 退回合计 +10\.00", done.out)
    assert "冲正" in done.out
    assert re.search(r"-10\.00", done.out)
    assert await till.service.live_debits(till.card) == []
    again = await till.run("reverse", "--last", "--yes", "--reason", "wrong patient", "--json")
    assert (again.code, again.json["outcome"], again.json["exit_code"], again.json["final"]) == (0, "reversed", 0, True)
    assert again.json["reversal"]["settlement_id"] == paid.json["settlement"]["settlement_id"]
    assert again.json["receipt"]["kind"] == "reversal"
    status = await till.run("status", "--id", paid.json["settlement"]["settlement_id"])
    assert status.code == 11


async def test_asked_before_it_is_taken_back(new_till: NewTill) -> None:
    till = await new_till(bank_fen=9_000)
    assert (await till.settle("ORDER-1")).code == 0
    no = await till.run("reverse", "--last", typed="n\n")
    assert (no.code, await till.service.live_debits(till.card)) == (1, [1_000])
    yes = await till.run("reverse", "--last", typed="y\n")
    assert (yes.code, await till.service.live_debits(till.card)) == (0, [])


async def test_a_key_that_never_arrived_never_can(new_till: NewTill) -> None:
    till = await new_till(bank_fen=9_000)
    done = await till.run("reverse", "--key", "lost-key-1", "--yes")
    assert done.code == 0, done.err
    assert "never arrived, and never can any more" in done.out
    late = await till.settle("ORDER-1", "--key", "lost-key-1")
    assert late.code in (11, 12)
    assert await till.service.live_debits(till.card) == []


async def test_what_the_service_does_not_know(new_till: NewTill) -> None:
    till = await new_till()
    for command in (("status", "--id"), ("receipt",), ("reverse", "--yes", "--id")):
        done = await till.run(*command, UNKNOWN, "--json")
        assert done.code == 12, done.out
    assert (await till.run("status", "--key", "never-heard-of-1")).err.startswith("Error: SETTLEMENT_UNKNOWN")


async def test_a_receipt_again_is_marked(new_till: NewTill) -> None:
    till = await new_till(bank_fen=9_000)
    paid = await till.settle("ORDER-1", "--json")
    receipt_id = paid.json["receipt"]["receipt_id"]
    last = await till.run("receipt", "--last")
    assert last.code == 0
    assert last.out.splitlines()[0].strip() == "** 补打 REPRINT **"
    plain = await till.run("receipt", receipt_id, "--plain")
    assert plain.out == paid.json["receipt"]["text"]
    as_json = await till.run("receipt", paid.json["settlement"]["settlement_id"], "--plain", "--json")
    assert as_json.json == paid.json["receipt"]


async def test_the_journal_shows_bills_and_hides_cards(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=600, bank_fen=9_000)
    paid = await till.settle("ORDER-1", "--json")
    await till.run("reverse", "--last", "--yes", "--reason", "mistake")
    listed = await till.run("journal", "list", "--all", "--json")
    assert [each["operation"] for each in listed.json["attempts"]] == ["reversal", "settlement"]
    assert set(listed.json["attempts"][1]) == {
        *("idempotency_key", "operation", "state", "outcome"),
        *("prepared_at", "settlement_id", "visit_no", "total_fen"),
    }
    assert (await till.run("journal", "list", "--all", "--limit", "1")).out.count("\n") == 1
    assert "nothing is open" in (await till.run("journal", "list")).err
    key = paid.json["idempotency_key"]
    for shown in (await till.run("journal", "show", key), await till.run("journal", "show", key, "--json")):
        assert shown.code == 0
        assert till.visit("ORDER-1") in shown.out
        assert "阿莫西林胶囊" in shown.out
        for secret in (till.card.card_number, till.card.pan, "pin_block", "signature"):
            assert str(secret) not in shown.out
    reversal = await till.run("journal", "show", listed.json["attempts"][0]["idempotency_key"])
    assert key in reversal.out
    assert "mistake" in reversal.out


async def test_the_journal_needs_no_service(new_till: NewTill) -> None:
    till = await new_till(bank_fen=9_000)
    assert (await till.settle("ORDER-1")).code == 0
    settings = till.home / "till.toml"
    settings.write_text(
        settings.read_text(encoding="utf-8").replace(till.service.base_url, "http://127.0.0.1:9"), encoding="utf-8"
    )
    listed = await till.run("journal", "list", "--all")
    assert (listed.code, listed.out.count("\n")) == (0, 1)
    assert (await till.run("journal", "show", f"no-such-{uuid.uuid4()}")).code == 2

"""The stand: everything up as processes of its own, patients who can pay, and a proof of the books."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from loadtest import cpu
from loadtest.population import PIN, Institution, Patient, PatientSpec, admit, enrol_terminals
from loadtest.prepared import PreparedCard, ProofOrder, sign
from loadtest.stand import Stand, StandError, attached_stand, running_stand
from settlement.businessdate import SHANGHAI
from settlement.clock import epoch_ms
from terminal_sdk import Bill, Credentials, FeeLine, Result, Settled, Terminal

HOSPITAL = Institution("H31010199009", "压测医院", "hospital", 3)


async def settle(stand: Stand, own: Credentials, patient: Patient, counter: int, journal: Path) -> Result:
    now = stand.base.clock.now()
    bill = Bill(
        visit_no=f"STAND-{patient.spec.number}-{counter}",
        visit_type="outpatient",
        service_date=now.astimezone(SHANGHAI).date(),
        lines=[FeeLine(line_no=1, item_code="XA01001", item_name="阿莫西林胶囊", category="A", amount_fen=2_450)],
    )
    order = ProofOrder(
        card=patient.card,
        counter=counter,
        terminal_id=own.terminal_id,
        visit_no=bill["visit_no"],
        total_fen=2_450,
        agreed="ceiling:2450",
        signed_at_ms=epoch_ms(now),
    )
    async with Terminal(stand.base_url, own.terminal_id, own.key, own.certificate, journal) as terminal:
        card = PreparedCard(order, sign(order))
        return await terminal.settle(card=card, bank_ceiling_fen=2_450, pin=PIN, **bill)


async def test_patients_of_a_stand_can_pay_and_the_books_agree(
    make_database: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    dsn = await make_database()
    specs = [
        PatientSpec(number=1, bank_code="ICBC", bank_fen=100_000, current_year_fen=1_000, carried_over_fen=50),
        PatientSpec(number=2, bank_code="SRCB", bank_fen=100_000),
    ]
    async with running_stand(tmp_path / "stand", dsn=dsn) as stand:
        assert set(stand.processes) == {"service", "banks", "database"}
        assert len(stand.processes["banks"]) == 3
        before = cpu.readings(stand.processes)
        (own,) = await enrol_terminals(stand, HOSPITAL, ["LTX00001"])
        mixed, banked = await admit(stand, specs)
        first = await settle(stand, own, mixed, 1, tmp_path / "till.sqlite")
        second = await settle(stand, own, banked, 1, tmp_path / "till.sqlite")
        assert isinstance(first, Settled)
        assert isinstance(second, Settled)
        split = first.split
        assert (split.current_year_fen, split.carried_over_fen, split.bank_fen) == (1_000, 50, 1_400)
        assert second.split.bank_fen == 2_450
        await stand.until_final()
        proof = await stand.verify()
        assert list(proof.lines())[-1] == "0 violations"
        assert proof.banks is not None
        assert proof.banks.compared == 2
        after = cpu.readings(stand.processes)
        assert all(after[name] >= before[name] for name in ("service", "database"))

    # The same folder and database once more: credentials and books are found again, a person gets a new card.
    async with running_stand(tmp_path / "stand", dsn=dsn) as stand:
        (again,) = await enrol_terminals(stand, HOSPITAL, ["LTX00001"])
        assert again.certificate.fingerprint == own.certificate.fingerprint
        (mixed,) = await admit(stand, specs[:1])
        assert isinstance(await settle(stand, own, mixed, 2, tmp_path / "till.sqlite"), Settled)
        assert (await stand.verify()).violations == 0

    with pytest.raises(StandError, match="empty database"):
        async with running_stand(tmp_path / "other", dsn=dsn):
            pass


async def test_a_folder_without_an_installation_cannot_be_attached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETTLEMENT_DATA_DIR", str(tmp_path / "none"))
    with pytest.raises(StandError, match="SETTLEMENT_DATA_DIR"):
        async with attached_stand("http://127.0.0.1:1", [], tmp_path):
            pass

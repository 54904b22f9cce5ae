"""One example request and answer of each operation, as wire types; shown in description and documentation."""

from __future__ import annotations

import datetime as dt

import msgspec

from terminal_sdk import wire

_AT = dt.datetime(2019, 1, 2, 1, 30, 15, tzinfo=dt.UTC)
_ID = "01681000-8c1a-7d3e-9b7a-3f5e2c9d1a40"
_UNDO_ID = "01681003-1f52-7c40-8a11-6d0e4b7c2f91"
_KEY = "TILL0001-20190102-000042"
_UNDO_KEY = "TILL0001-20190102-000043"
_REFUND_ID = "01681002-11c4-7b1e-8d02-6a90f1c3e572"
_REFUND_KEY = "TILL0001-20190102-000019"
_VISIT = "MZ201901020042"
_DAY = dt.date(2019, 1, 2)
_PEM = "-----BEGIN {0}-----\nMIIB…\n-----END {0}-----\n"

_CARD = wire.CardRef(card_number="A12345678", certificate_fingerprint="5c" * 32)
_LINES = [
    wire.FeeLine(line_no=1, item_code="110200001", item_name="普通门诊诊察费", category="A", amount_fen=2500),
    wire.FeeLine(
        line_no=2, item_code="XJ01CAA040B001", item_name="阿莫西林胶囊", category="A", amount_fen=1860, quantity="2"
    ),
]
_SPLIT = wire.Split(
    total_fen=4360,
    own_expense_fen=0,
    current_year_fen=3000,
    carried_over_fen=0,
    bank_fen=1360,
    cash_fen=0,
    parts=[
        wire.SplitPart(line_no=1, rule="current_year_first", payer="current_year", amount_fen=2500),
        wire.SplitPart(line_no=2, rule="current_year_first", payer="current_year", amount_fen=500),
        wire.SplitPart(line_no=2, rule="remainder", payer="bank", amount_fen=1360),
    ],
)
_BANK = wire.BankPart(
    bank="ICBC",
    amount_fen=1360,
    state="posted",
    reference="000000000042",
    authorisation="A1B2C3",
    response_code="00",
)
_SETTLEMENT = wire.Settlement(
    settlement_id=_ID,
    idempotency_key=_KEY,
    visit_no=_VISIT,
    state="settled",
    final=True,
    split=_SPLIT,
    accepted_at=_AT,
    deadline_at=_AT + dt.timedelta(seconds=150),
    posting_date=_DAY,
    bank=_BANK,
    bank_notice=None,
    decline=None,
    receipt_id=_ID,
    reversal_id=None,
)
_REVERSAL = wire.Reversal(
    reversal_id=_UNDO_ID,
    idempotency_key=_UNDO_KEY,
    settlement_id=_ID,
    state="reversed",
    final=True,
    returned=_SPLIT,
    bank=_BANK,
    receipt_id=_UNDO_ID,
)
_REFUND = wire.Refund(
    refund_id=_REFUND_ID,
    idempotency_key=_REFUND_KEY,
    settlement_id=_ID,
    state="refunded",
    final=True,
    returned=wire.Split(
        total_fen=1000,
        own_expense_fen=0,
        current_year_fen=0,
        carried_over_fen=0,
        bank_fen=1000,
        cash_fen=0,
        parts=[wire.SplitPart(line_no=1, rule="return", payer="bank", amount_fen=1000)],
    ),
    bank=msgspec.structs.replace(_BANK, amount_fen=1000, reference="000000000057", authorisation="7D0E11"),
    receipt_id=_REFUND_ID,
)

_STAY_LINES = [
    wire.StayLine(
        line_no=1,
        item_code="110900001",
        item_name="普通病房床位费",
        category="A",
        amount_fen=24000,
        quantity="3",
        service_date=_DAY,
    ),
    wire.StayLine(
        line_no=2, item_code="XK1", item_name="头孢呋辛", category="B", amount_fen=9900, quantity="6", service_date=_DAY
    ),
]
_STAY = wire.Stay(
    stay_id=_ID,
    stay_no="ZY2019000117",
    visit_type="inpatient",
    state="admitted",
    admitted_on=_DAY,
    batches=[wire.StayBatch(batch_no=1, lines=2, total_fen=33900, uploaded_at=_AT, withdrawn=False)],
    open_lines=2,
    open_fen=33900,
    settlements=[],
)
_QUOTE = wire.Quote(
    token="eyJ2IjoxLCJ0IjoiTVoyMDE5…",  # noqa: S106  # an example
    digest="1d" * 32,
    split=_SPLIT,
    balance_after=wire.BalanceAfter(current_year_fen=0, carried_over_fen=0),
    bank_notice=None,
    expires_at=_AT + dt.timedelta(seconds=300),
    plans=[
        wire.PlanUsed(
            plan="employees", version="2018", insurance_year=2018, group="working_44", rule="outpatient/working_44"
        )
    ],
)

REQUESTS: dict[str, msgspec.Struct] = {
    "enrol": wire.EnrolRequest(
        terminal_id="TILL0001",
        enrolment_code="7KQ2M-0X9TB-V4HNC-R8Z5D",
        csr_pem=_PEM.format("CERTIFICATE REQUEST"),
    ),
    "challenge": wire.ChallengeRequest(terminal_id="TILL0001"),
    "signIn": wire.SignInRequest(
        terminal_id="TILL0001",
        challenge="AAABaBAAjBo4l3Jq…",
        certificate_fingerprint="9e" * 32,
        signature="3f" * 64,
    ),
    "quote": wire.QuoteRequest(
        visit_no=_VISIT, visit_type="outpatient", service_date=_DAY, card=_CARD, lines=_LINES, total_fen=4360
    ),
    "settle": wire.SettlementRequest(
        idempotency_key=_KEY,
        visit_no=_VISIT,
        visit_type="outpatient",
        service_date=_DAY,
        card=_CARD,
        lines=_LINES,
        total_fen=4360,
        proof=wire.CardProof(counter=17, signed_at_ms=1546392615000, signature="b4" * 64),
        quote="eyJ2IjoxLCJ0IjoiTVoyMDE5…",
        pin_block="8d" * 16,
    ),
    "reverse": wire.ReversalRequest(idempotency_key=_UNDO_KEY, reason="wrong patient"),
    "reverseByKey": wire.ReversalByKeyRequest(
        idempotency_key=_UNDO_KEY, original_idempotency_key=_KEY, reason="no answer"
    ),
    "refund": wire.RefundRequest(
        idempotency_key=_REFUND_KEY, lines=[wire.RefundLine(line_no=1, amount_fen=1000)], reason="one pack returned"
    ),
    "admit": wire.AdmissionRequest(
        idempotency_key=_KEY, stay_no="ZY2019000117", visit_type="inpatient", card=_CARD, admitted_on=_DAY
    ),
    "uploadFees": wire.FeesRequest(idempotency_key=_KEY, lines=_STAY_LINES, total_fen=33900),
    "withdrawFees": wire.WithdrawalRequest(idempotency_key=_UNDO_KEY),
    "trial": wire.TrialRequest(card=_CARD),
    "settleStay": wire.StaySettlementRequest(
        idempotency_key=_KEY,
        part="final",
        card=_CARD,
        total_fen=33900,
        proof=wire.CardProof(counter=18, signed_at_ms=1546392615000, signature="b4" * 64),
        quote="eyJ2IjoxLCJ0IjoiTVoyMDE5…",
        pin_block="8d" * 16,
    ),
    "deposit": wire.DepositRequest(
        idempotency_key=_KEY,
        card=_CARD,
        amount_fen=100000,
        proof=wire.CardProof(counter=17, signed_at_ms=1546392615000, signature="b4" * 64),
        pin_block="8d" * 16,
    ),
    "cancelStay": wire.CancellationRequest(idempotency_key=_UNDO_KEY),
}
"""By operation; the others have no body."""

ANSWERS: dict[str, msgspec.Struct] = {
    "enrol": wire.Enrolment(
        terminal_id="TILL0001",
        institution_id="H31010100001",
        certificate_pem=_PEM.format("CERTIFICATE"),
        ca_pem=_PEM.format("CERTIFICATE"),
    ),
    "challenge": wire.Challenge(challenge="AAABaBAAjBo4l3Jq…", expires_at=_AT + dt.timedelta(seconds=60)),
    "signIn": wire.Session(
        session_id=_ID,
        terminal_id="TILL0001",
        institution_id="H31010100001",
        sealed_keys="04" + "a7" * 144,
        expires_at=_AT + dt.timedelta(hours=24),
        server_time_ms=1546392615000,
    ),
    "quote": _QUOTE,
    "settle": _SETTLEMENT,
    "settlementByKey": _SETTLEMENT,
    "settlement": _SETTLEMENT,
    "reverse": _REVERSAL,
    "reverseByKey": _REVERSAL,
    "reversal": _REVERSAL,
    "refund": _REFUND,
    "refundById": _REFUND,
    "admit": _STAY,
    "stay": _STAY,
    "uploadFees": _STAY,
    "withdrawFees": _STAY,
    "trial": _QUOTE,
    "settleStay": _SETTLEMENT,
    "deposit": _SETTLEMENT,
    "cancelStay": _STAY,
    "receipt": wire.Receipt(
        receipt_id=_ID,
        kind="settlement",
        settlement_id=_ID,
        institution_id="H31010100001",
        institution_name="上海市第一示范医院",
        terminal_id="TILL0001",
        visit_no=_VISIT,
        patient="张**",
        card_number="*****5678",
        service_date=_DAY,
        posting_date=_DAY,
        issued_at=_AT,
        lines=[
            wire.ReceiptLine(
                line_no=line.line_no,
                item_name=line.item_name,
                category=line.category,
                quantity=line.quantity,
                amount_fen=line.amount_fen,
            )
            for line in _LINES
        ],
        split=_SPLIT,
        bank=_BANK,
        text="上海市第一示范医院\n…\n",
    ),
}
"""By operation."""

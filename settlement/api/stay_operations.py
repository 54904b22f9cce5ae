"""The operations of inpatient stays, as a part of the one table."""

from __future__ import annotations

from settlement.api.operation import CARD, SETTLING, UUID, Operation, Parameter
from terminal_sdk import wire

_STAY_ID = Parameter(name="stay_id", place="path", meaning="The stay's id.", schema=UUID)

STAY_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="admit",
        method="POST",
        path="/v1/stays",
        summary="Admit a patient (入院登记)",
        description="Opens a stay for the card's person. The same key and body give the same stay again.",
        request=wire.AdmissionRequest,
        answer=wire.Stay,
        errors=(*CARD, "SERVICE_DATE_OUT_OF_RANGE", "IDEMPOTENCY_KEY_REUSED", "STAY_NUMBER_USED"),
    ),
    Operation(
        name="stay",
        method="GET",
        path="/v1/stays/{stay_id}",
        summary="A stay by its id",
        description="Its batches, what is still to be settled, and the settlements that are open or stand.",
        answer=wire.Stay,
        parameters=(_STAY_ID,),
        errors=("STAY_UNKNOWN",),
    ),
    Operation(
        name="uploadFees",
        method="POST",
        path="/v1/stays/{stay_id}/fees",
        summary="Upload fees of a stay (费用上传)",
        description="A batch of lines, each with the day of its service; over days as many batches as it takes, up to "
        "20,000 lines. Line numbers are unique in the stay.",
        request=wire.FeesRequest,
        answer=wire.Stay,
        parameters=(_STAY_ID,),
        errors=(
            "STAY_UNKNOWN",
            "IDEMPOTENCY_KEY_REUSED",
            "LINES_DO_NOT_ADD_UP",
            "DUPLICATE_LINE_NO",
            "SERVICE_DATE_OUT_OF_RANGE",
            "STAY_LINE_USED",
            "STAY_TOO_LARGE",
            "STAY_CANCELLED",
            "STAY_DISCHARGED",
        ),
    ),
    Operation(
        name="withdrawFees",
        method="POST",
        path="/v1/stays/{stay_id}/fees/{batch_no}/withdrawal",
        summary="Take a batch of fees back (费用撤销)",
        description="Of which no line is settled. Its line numbers are free again.",
        request=wire.WithdrawalRequest,
        answer=wire.Stay,
        parameters=(
            _STAY_ID,
            Parameter(
                name="batch_no", place="path", meaning="The batch's number.", schema={"type": "integer", "minimum": 1}
            ),
        ),
        errors=(
            "STAY_UNKNOWN",
            "STAY_BATCH_UNKNOWN",
            "STAY_BATCH_SETTLED",
            "IDEMPOTENCY_KEY_REUSED",
            "STAY_CANCELLED",
            "STAY_DISCHARGED",
        ),
    ),
    Operation(
        name="trial",
        method="POST",
        path="/v1/stays/{stay_id}/trial",
        summary="Who would pay what of a stay (预结算)",
        description="Changes nothing. A quote of the open fees, up to a service date if one is given; the settlement "
        "that hands it back must be of the same fees.",
        request=wire.TrialRequest,
        answer=wire.Quote,
        parameters=(_STAY_ID,),
        errors=(
            *CARD,
            "STAY_UNKNOWN",
            "STAY_EMPTY",
            "STAY_CARD_OTHER",
            "STAY_CANCELLED",
            "STAY_DISCHARGED",
            "PLAN_MISSING",
        ),
    ),
    Operation(
        name="settleStay",
        method="POST",
        path="/v1/stays/{stay_id}/settlements",
        summary="Settle a stay (出院结算, 中途结算)",
        description="An interim settlement takes the open fees up to a service date, the final one all that are open, "
        "and discharges. Each is a settlement like any other: asked for, reversed and refunded by its id. Reversed, "
        "its lines are open again, and after a reversed final one the stay goes on.",
        request=wire.StaySettlementRequest,
        answer=wire.Settlement,
        parameters=(_STAY_ID,),
        pending=True,
        errors=(
            *CARD,
            *SETTLING,
            "STAY_UNKNOWN",
            "STAY_EMPTY",
            "STAY_TOTAL_DIFFERS",
            "STAY_CHANGED",
            "STAY_CARD_OTHER",
            "STAY_CANCELLED",
            "STAY_DISCHARGED",
            "PLAN_MISSING",
        ),
    ),
    Operation(
        name="deposit",
        method="POST",
        path="/v1/stays/{stay_id}/deposits",
        summary="Take a deposit (预交金)",
        description="From the patient's bank account, as a settlement of its own, with a receipt. Interim and final "
        "settlements use what is left of the stay's deposits before the bank account is asked; what the final one "
        "leaves (`deposit_left_fen` of the stay) is given back by a refund of the deposit's line. A deposit that a "
        "bill uses is reversed or refunded only after that bill.",
        request=wire.DepositRequest,
        answer=wire.Settlement,
        parameters=(_STAY_ID,),
        pending=True,
        errors=(
            *CARD,
            *SETTLING,
            "STAY_UNKNOWN",
            "STAY_CHANGED",
            "STAY_CARD_OTHER",
            "STAY_CANCELLED",
            "STAY_DISCHARGED",
            "NO_BANK_ACCOUNT",
            "FINANCIAL_NOT_ACTIVE",
            "FINANCIAL_FROZEN",
        ),
    ),
    Operation(
        name="cancelStay",
        method="POST",
        path="/v1/stays/{stay_id}/cancellation",
        summary="Take an admission back (撤销入院登记)",
        description="Of which no fees and no settlement stand. The number is free again.",
        request=wire.CancellationRequest,
        answer=wire.Stay,
        parameters=(_STAY_ID,),
        errors=("STAY_UNKNOWN", "STAY_NOT_EMPTY", "IDEMPOTENCY_KEY_REUSED"),
    ),
)

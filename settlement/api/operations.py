"""The operations of version 1: the one table that routes, descriptions, documentation and tests are made from."""

from __future__ import annotations

from settlement.api.operation import ALWAYS, AUTHENTICATED, BILL, CARD, SETTLING, UUID, WITH_BODY, Operation, Parameter
from settlement.api.stay_operations import STAY_OPERATIONS
from terminal_sdk import wire

__all__ = ["ALWAYS", "AUTHENTICATED", "BY_NAME", "OPERATIONS", "WITH_BODY", "Operation", "Parameter"]

_SETTLEMENT_ID = Parameter(name="settlement_id", place="path", meaning="The settlement's id.", schema=UUID)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="enrol",
        method="POST",
        path="/v1/terminals/enrol",
        summary="Enrol a terminal",
        description="The terminal makes an SM2 key pair and sends a PKCS#10 request whose common name is the terminal "
        "id, with the one-time code that the operator was shown. The code is used up by the answer; "
        "ten wrong tries end it too.",
        request=wire.EnrolRequest,
        answer=wire.Enrolment,
        authenticated=False,
        errors=("ENROLMENT_REFUSED", "CSR_INVALID", "TERMINAL_SUSPENDED", "INSTITUTION_SUSPENDED"),
    ),
    Operation(
        name="challenge",
        method="POST",
        path="/v1/sessions/challenge",
        summary="Ask for a sign-in challenge",
        description="The challenge holds for one minute and for this terminal only. It is given to anybody who asks.",
        request=wire.ChallengeRequest,
        answer=wire.Challenge,
        authenticated=False,
    ),
    Operation(
        name="signIn",
        method="POST",
        path="/v1/sessions",
        summary="Sign in (签到)",
        description="Sign the challenge with the terminal's SM2 key. The answer holds the day's session, its working "
        "keys sealed to the terminal's public key, and the service's time. The same request sent twice gives the same "
        "session.",
        request=wire.SignInRequest,
        answer=wire.Session,
        authenticated=False,
        errors=(
            "CHALLENGE_INVALID",
            "TERMINAL_UNKNOWN",
            "TERMINAL_CERTIFICATE_UNKNOWN",
            "TERMINAL_CERTIFICATE_EXPIRED",
            "SIGNATURE_INVALID",
            "TERMINAL_SUSPENDED",
            "INSTITUTION_SUSPENDED",
        ),
    ),
    Operation(
        name="quote",
        method="POST",
        path="/v1/quotes",
        summary="Who would pay what",
        description="Changes nothing. The card signs the quote's digest; the token is handed back with the settlement.",
        request=wire.QuoteRequest,
        answer=wire.Quote,
        errors=(*CARD, *BILL),
    ),
    Operation(
        name="settle",
        method="POST",
        path="/v1/settlements",
        summary="Settle a bill",
        description="Write the idempotency key durably before the first send, and repeat with the same key and the "
        "same body: the first answer is given again. Exactly one of `quote` and `bank_ceiling_fen` says what the "
        "patient agreed to. 202 means *not yet known*: ask again at `Location`; never take it, or a lost answer, for "
        "a refusal.",
        request=wire.SettlementRequest,
        answer=wire.Settlement,
        pending=True,
        errors=(*CARD, *BILL, *SETTLING),
    ),
    Operation(
        name="settlementByKey",
        method="GET",
        path="/v1/settlements",
        summary="A settlement by its idempotency key",
        description="For a till that has no answer. 404 while the bill may still be on its way is not final: reverse "
        "by key to make sure that it never settles.",
        answer=wire.Settlement,
        parameters=(
            Parameter(
                name="idempotency_key",
                place="query",
                meaning="The key that the settlement was sent under.",
                schema={"$ref": "#/components/schemas/SettlementRequest/properties/idempotency_key"},
            ),
        ),
        pending=True,
        errors=("SETTLEMENT_UNKNOWN", "REVERSED_BEFORE_ARRIVAL"),
    ),
    Operation(
        name="settlement",
        method="GET",
        path="/v1/settlements/{settlement_id}",
        summary="A settlement by its id",
        description="What became of a bill. Seen by the terminals of its own institution only.",
        answer=wire.Settlement,
        parameters=(_SETTLEMENT_ID,),
        pending=True,
        errors=("SETTLEMENT_UNKNOWN",),
    ),
    Operation(
        name="reverse",
        method="POST",
        path="/v1/settlements/{settlement_id}/reversal",
        summary="Take a settlement back",
        description="Whole, each part to where it came from. Never refused for being early, late or repeated.",
        request=wire.ReversalRequest,
        answer=wire.Reversal,
        parameters=(_SETTLEMENT_ID,),
        pending=True,
        errors=("SETTLEMENT_UNKNOWN", "IDEMPOTENCY_KEY_REUSED", "DEPOSIT_IN_USE"),
    ),
    Operation(
        name="reverseByKey",
        method="POST",
        path="/v1/reversals",
        summary="Take back what was sent under a key",
        description="Also where the service never saw the bill: the key is remembered, and a late arrival is refused "
        "with REVERSED_BEFORE_ARRIVAL.",
        request=wire.ReversalByKeyRequest,
        answer=wire.Reversal,
        pending=True,
        errors=("IDEMPOTENCY_KEY_REUSED", "DEPOSIT_IN_USE"),
    ),
    Operation(
        name="reversal",
        method="GET",
        path="/v1/reversals/{reversal_id}",
        summary="A reversal by its id",
        description="What became of a reversal.",
        answer=wire.Reversal,
        parameters=(Parameter(name="reversal_id", place="path", meaning="The reversal's id.", schema=UUID),),
        pending=True,
        errors=("SETTLEMENT_UNKNOWN",),
    ),
    Operation(
        name="refund",
        method="POST",
        path="/v1/settlements/{settlement_id}/refunds",
        summary="Refund lines of a bill",
        description="Lines of a settled bill, whole or in part, on any later day too. Each share goes back to where it "
        "came from, by the recorded split; of a part of a line, cash and bank account first, then the insurance "
        "accounts. Several refunds may follow each other, up to the bill; a reversal takes back what they left.",
        request=wire.RefundRequest,
        answer=wire.Refund,
        parameters=(_SETTLEMENT_ID,),
        pending=True,
        errors=(
            "SETTLEMENT_UNKNOWN",
            "IDEMPOTENCY_KEY_REUSED",
            "DUPLICATE_LINE_NO",
            "REFUND_TOO_EARLY",
            "NOTHING_TO_REFUND",
            "REFUND_LINE_UNKNOWN",
            "REFUND_EXCEEDS_LINE",
            "PLAN_MISSING",
            "PERSON_BUSY",
            "DEPOSIT_IN_USE",
        ),
    ),
    Operation(
        name="refundById",
        method="GET",
        path="/v1/refunds/{refund_id}",
        summary="A refund by its id",
        description="What became of a refund.",
        answer=wire.Refund,
        parameters=(Parameter(name="refund_id", place="path", meaning="The refund's id.", schema=UUID),),
        pending=True,
        errors=("REFUND_UNKNOWN",),
    ),
    Operation(
        name="receipt",
        method="GET",
        path="/v1/receipts/{receipt_id}",
        summary="A receipt",
        description="As data, or as text for an 80 mm printer: `?format=text` or `Accept: text/plain`. Names and "
        "numbers are masked.",
        answer=wire.Receipt,
        parameters=(
            Parameter(name="receipt_id", place="path", meaning="The receipt's id.", schema=UUID),
            Parameter(
                name="format",
                place="query",
                meaning="`json` or `text`; overrides `Accept`.",
                schema={"type": "string", "enum": ["json", "text"]},
                required=False,
            ),
        ),
        text=True,
        errors=("RECEIPT_UNKNOWN",),
    ),
    *STAY_OPERATIONS,
)
BY_NAME = {operation.name: operation for operation in OPERATIONS}

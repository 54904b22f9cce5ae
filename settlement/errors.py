"""The one catalogue of refusals: stable code, HTTP status and what the caller should do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from terminal_sdk.wire import Quote

CATALOGUE: dict[str, tuple[int, str]] = {
    # requests
    "BAD_REQUEST": (400, "This is not an HTTP request that the service understands."),
    "BAD_JSON": (400, "The body is not valid JSON of this message; see /openapi.json."),
    "BAD_FIELD": (422, "A field is missing, unknown or out of range."),
    "LINES_DO_NOT_ADD_UP": (422, "total_fen must equal the sum of the lines' amount_fen."),
    "DUPLICATE_LINE_NO": (422, "Each line_no may occur once in a bill."),
    "SERVICE_DATE_OUT_OF_RANGE": (422, "The service date may not lie in the future or more than 366 days back."),
    "CONSENT_MISSING": (422, "Give exactly one of quote and bank_ceiling_fen."),
    "BODY_TOO_LARGE": (413, "The body is larger than this service accepts."),
    "BODY_TOO_SLOW": (408, "The body did not arrive in time; send the request again."),
    "UNSUPPORTED_MEDIA_TYPE": (415, "Send application/json, in UTF-8 and not compressed."),
    "NOT_FOUND": (404, "There is nothing here."),
    "METHOD_NOT_ALLOWED": (405, "This path does not take that method."),
    # terminals
    "TERMINAL_UNKNOWN": (401, "This terminal is not enrolled."),
    "TERMINAL_SUSPENDED": (403, "This terminal is suspended; call the operator."),
    "INSTITUTION_SUSPENDED": (403, "This terminal's institution is suspended; call the operator."),
    "TERMINAL_FLOODING": (429, "Too many requests of this terminal are under way; wait for their answers."),
    "ENROLMENT_REFUSED": (403, "The enrolment code is wrong, used or expired; ask the operator for a new one."),
    "CSR_INVALID": (422, "The certificate request cannot be read, or its signature is wrong."),
    "TERMINAL_CERTIFICATE_EXPIRED": (403, "The terminal's certificate has expired; enrol again."),
    "TERMINAL_CERTIFICATE_UNKNOWN": (403, "This is not the certificate that the terminal was enrolled with."),
    "CHALLENGE_INVALID": (401, "The challenge is wrong or too old; ask for a new one."),
    "SIGNATURE_INVALID": (401, "The signature is wrong."),
    "SESSION_MISSING": (401, "Sign in first and send the session, time, nonce and MAC headers."),
    "SESSION_EXPIRED": (401, "The session is over; sign in again."),
    "MAC_INVALID": (401, "The MAC is wrong."),
    "CLOCK_SKEW": (401, "The terminal's clock is too far off; set it by the time of the sign-in answer."),
    "NONCE_REPLAYED": (401, "This nonce was used before; a request is never sent twice with the same nonce."),
    # cards
    "CARD_UNKNOWN": (404, "This card is not in the registry."),
    "CARD_NOT_ACTIVATED": (403, "The card's social security function is not activated yet."),
    "CARD_FROZEN": (
        403,
        "The card's social security function is frozen. If the patient agrees to pay without insurance: consent.",
    ),
    "CARD_LOST": (403, "The card was reported lost."),
    "CARD_VOID": (403, "The card is void; a newer one was activated."),
    "CARD_EXPIRED": (403, "The card has expired."),
    "CARD_CERTIFICATE_MISMATCH": (403, "The certificate read is not the one registered for this card."),
    "CARD_CERTIFICATE_EXPIRED": (403, "The card's certificate has expired; the card must be replaced."),
    "CARD_CERTIFICATE_REVOKED": (403, "The card's certificate was revoked."),
    "CARD_PROOF_INVALID": (403, "The card's signature or check value is wrong; read the card again."),
    "CARD_PROOF_STALE": (403, "The card's signature is too old or from the future; read the card again."),
    "CARD_COUNTER_REPLAYED": (403, "The card's counter did not rise; read the card again."),
    "NO_BANK_ACCOUNT": (409, "The card has no bank account; only the insurance part can be paid with it."),
    "FINANCIAL_NOT_ACTIVE": (409, "The card's bank account is not activated; a branch of its bank does that."),
    "FINANCIAL_FROZEN": (409, "The card's bank account is frozen; ask its bank."),
    "NO_CERTIFICATE": (409, "A card of the old kind has no certificate."),
    "PIN_BLOCK_INVALID": (422, "The PIN block is not a 16-byte block in hex."),
    # settlements
    "IDEMPOTENCY_KEY_REUSED": (409, "This key was used with another body; a new bill needs a new key."),
    "REVERSED_BEFORE_ARRIVAL": (409, "A reversal of this key came first; the bill is not settled."),
    "BILL_ALREADY_SETTLED": (409, "A line of this visit is settled or being settled already."),
    "PLAN_MISSING": (
        409,
        "No plan has a rule for this visit of this person; nothing was charged. The insurer corrects coverage or plan.",
    ),
    "AGREEMENT_EXCEEDED": (409, "The bank's part would exceed what the patient agreed to; show the new quote."),
    "QUOTE_INVALID": (422, "The quote is not from this service, or was made for another bill."),
    "QUOTE_EXPIRED": (409, "The quote has expired; ask for a new one."),
    "PERSON_BUSY": (409, "Another bill of this person is being settled; try again shortly."),
    "STAY_UNKNOWN": (404, "This institution has no such stay."),
    "STAY_NUMBER_USED": (409, "Another stay of this institution has this number."),
    "STAY_CANCELLED": (409, "The admission was taken back; admit the patient again."),
    "STAY_DISCHARGED": (409, "The stay has its final settlement; to change it, reverse that first."),
    "STAY_NOT_EMPTY": (409, "Fees or a settlement of the stay stand; withdraw and reverse them first."),
    "STAY_LINE_USED": (409, "A batch of the stay has a line of this number already."),
    "STAY_BATCH_UNKNOWN": (404, "The stay has no such batch of fees."),
    "STAY_BATCH_SETTLED": (409, "A line of the batch is settled or being settled; reverse that settlement first."),
    "STAY_TOO_LARGE": (409, "A stay has at most 20,000 lines."),
    "STAY_EMPTY": (409, "Nothing of the stay is to be settled up to that day."),
    "STAY_TOTAL_DIFFERS": (409, "total_fen is not the sum of the open fees; compare them with the stay's."),
    "STAY_CHANGED": (409, "Fees of the stay have changed meanwhile; ask for a new trial."),
    "DEPOSIT_IN_USE": (409, "A bill of the stay uses the deposit; reverse that first."),
    "STAY_CARD_OTHER": (409, "This card is not of the person who was admitted."),
    "SETTLEMENT_UNKNOWN": (404, "This institution has no such settlement."),
    "REFUND_UNKNOWN": (404, "This institution has no such refund."),
    "REFUND_TOO_EARLY": (409, "The bill is not settled yet: wait for it, or take it back whole by a reversal."),
    "NOTHING_TO_REFUND": (409, "The bill was declined or is taken back whole; there is nothing to refund."),
    "REFUND_LINE_UNKNOWN": (422, "The bill has no such line."),
    "REFUND_EXCEEDS_LINE": (409, "More would be refunded than is left of the line."),
    "RECEIPT_UNKNOWN": (404, "This institution has no such receipt (a receipt exists once the bill is settled)."),
    # service
    "OVERLOADED": (503, "The service is at its limit; try again after the time given."),
    "NOT_READY": (503, "The service is not ready; try again after the time given."),
    "TIMED_OUT": (504, "The service works on it still; ask for the status under your idempotency key."),
    "OUTCOME_UNKNOWN": (504, "It may have been done or not; ask for the status under your idempotency key."),
    "INTERNAL": (500, "The service failed; ask for the status under your idempotency key before anything else."),
}
"""Code → (HTTP status, default message). The code is stable; the message may be reworded."""


class ServiceError(Exception):
    """A refusal that changed nothing. ``code`` is a key of ``CATALOGUE``; the message says what to do.

    ``nothing_done``: with OVERLOADED and NOT_READY, which may also come half-way, that this is certain here.
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        field: str | None = None,
        retry_after_ms: int | None = None,
        settlement_id: str | None = None,
        quote: Quote | None = None,
        nothing_done: bool = False,
    ) -> None:
        self.status, default = CATALOGUE[code]
        self.code = code
        self.message = message or default
        self.field = field
        self.retry_after_ms = retry_after_ms
        self.settlement_id = settlement_id
        self.quote = quote
        self.nothing_done = nothing_done
        super().__init__(f"{code}: {self.message}")


_EARLY = frozenset({"OVERLOADED", "NOT_READY"})


def early_or_unknown(error: ServiceError) -> ServiceError:
    """Keeps the promise of 503, that nothing was begun: what an operation that moves money is refused with. Once the
    engine was asked, that is not known unless the error says so; then it is OUTCOME_UNKNOWN.
    """
    if error.code not in _EARLY or error.nothing_done:
        return error
    return ServiceError("OUTCOME_UNKNOWN", retry_after_ms=error.retry_after_ms)

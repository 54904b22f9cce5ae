"""What a bank decides: a request's fields in, the answer's fields out, all booked in the caller's transaction."""

from __future__ import annotations

import datetime as dt
import hmac
from collections.abc import Callable, Mapping

from settlement.banks.iso.codec import MessageError
from settlement.banks.iso.original import DebitStatus, OriginalStatus, read_original
from settlement.banks.iso.spec import ANSWER_OF, DEBIT_CODE, INQUIRY_CODE, RETURN_CODE, Mti
from settlement.businessdate import business_date
from settlement.clock import Clock
from settlement.ids import IdSource
from settlement.stubs.bankhost.profile import Duplicates, Profile
from settlement.stubs.bankhost.store import AccountRow, IdentityKey, NewOperation, OperationRow, Store
from settlement.stubs.bankhost.wire import PIN_TRIES, AccountSpec
from terminal_sdk.crypto import hmac_sm3
from terminal_sdk.pin import PinBlockInvalid, decode_pin_block

APPROVED = "00"
DO_NOT_HONOUR = "05"
INVALID_TRANSACTION = "12"
TOO_LATE = "13"
NO_SUCH_CARD = "14"
NOT_FOUND = "25"
FORMAT_ERROR = "30"
NO_FUNDS = "51"
CARD_EXPIRED = "54"
WRONG_PIN = "55"
OVER_AMOUNT_LIMIT = "61"
WRONG_ORIGINAL_AMOUNT = "64"
OVER_COUNT_LIMIT = "65"
PIN_TRIES_EXCEEDED = "75"
DUPLICATE = "94"

_ECHOED = ("3", "4", "7", "11", "12", "13", "32", "37", "41", "42", "49")
_DAY_KEY = "business_date"
_STATE_CODES = {"frozen": DO_NOT_HONOUR, "expired": CARD_EXPIRED, "closed": NO_SUCH_CARD}

Fields = dict[str, str]


class Books:
    """The rules of one bank over its store. Not thread-safe: one worker calls it."""

    def __init__(self, store: Store, profile: Profile, pin_key: bytes, clock: Clock, ids: IdSource) -> None:
        self.store = store
        self.profile = profile
        self._pin_key = pin_key
        self._clock = clock
        self._ids = ids
        self._rules: dict[tuple[str, str], Callable[[Mapping[str, str], bytes], Fields]] = {
            (Mti.FINANCIAL, DEBIT_CODE): self._debit,
            (Mti.FINANCIAL, RETURN_CODE): self._void,
            (Mti.REFUND, RETURN_CODE): self._refund,
            (Mti.REVERSAL, DEBIT_CODE): self._reversal,
        }
        if profile.offers_inquiry:
            self._rules[Mti.INQUIRY, INQUIRY_CODE] = self._inquiry

    def handle(self, fields: Mapping[str, str], pin_block_key: bytes) -> Fields:
        """Judge a request whose MAC was found right. ``pin_block_key``: the working key of field 52."""
        if not all(fields.get(number) for number in ("4", "7", "11", "37", "41", "42")) or not int(fields["4"]):
            return self.answer(fields, FORMAT_ERROR)
        if fields["t"] == Mti.ADVICE:
            return self._advice(fields)
        rule = self._rules.get((fields["t"], fields.get("3", "")))
        if rule is None or "2" not in fields:
            return self.answer(fields, INVALID_TRANSACTION)
        try:
            return rule(fields, pin_block_key)
        except MessageError:
            return self.answer(fields, FORMAT_ERROR)

    def answer(self, fields: Mapping[str, str], code: str, **more: str) -> Fields:
        """The answer to a request with this response code."""
        echoed = {number: fields[number] for number in _ECHOED if number in fields}
        day = {"15": f"{self.business_date():%m%d}"}
        return {"t": ANSWER_OF[fields["t"]], **day, **echoed, "39": code, **more}

    def business_date(self) -> dt.date:
        """The day that is being booked, by the clock or, after ``cut_over``, by hand; it never goes back."""
        by_clock = business_date(self._clock.now(), self.profile.cut_over)
        stored = self.store.meta(_DAY_KEY)
        return max(by_clock, dt.date.fromisoformat(stored)) if stored else by_clock

    def cut_over(self) -> dt.date:
        """End the business day now; the new one."""
        date = self.business_date() + dt.timedelta(days=1)
        self.store.set_meta(_DAY_KEY, date.isoformat())
        return date

    def put_account(self, spec: AccountSpec, *, only_new: bool) -> None:
        """Open or change an account."""
        if only_new and self.store.account(spec.pan) is not None:
            return
        check = None if spec.pin is None else self._pin_check(spec.pan, spec.pin)
        self.store.put_account(spec, check, self._clock.now())

    # ---- debit ----------------------------------------------------------------------------------------------------

    def _debit(self, fields: Mapping[str, str], pin_block_key: bytes) -> Fields:
        identity, amount = _identity(fields), int(fields["4"])
        seen = self.store.operation("debit", identity)
        if seen is not None:
            return self._seen_debit(fields, seen)
        if self.store.has_tombstone(identity):
            return self.answer(fields, INVALID_TRANSACTION)
        code = self._judge_debit(fields, amount, pin_block_key)
        authorisation = self._authorisation() if code == APPROVED else None
        date = self.business_date()
        moved = amount if code == APPROVED else 0
        self._record("debit", fields, moved, None, code, authorisation, date, sign=-1)
        if moved:
            self.store.count_day(fields["2"], date, moved, 1)
        return self._with_authorisation(fields, code, authorisation, date)

    def _seen_debit(self, fields: Mapping[str, str], seen: OperationRow) -> Fields:
        same = (seen.amount_fen, seen.pan) == (int(fields["4"]), fields["2"])
        if not same or self.profile.duplicates is Duplicates.CODE_94:
            return self.answer(fields, DUPLICATE)
        return self._with_authorisation(fields, seen.response_code, seen.authorisation, seen.settlement_date)

    def _judge_debit(self, fields: Mapping[str, str], amount: int, pin_block_key: bytes) -> str:
        account = self.store.account(fields["2"])
        if account is None:
            return NO_SUCH_CARD
        if account.state != "active":
            return _STATE_CODES[account.state]
        pin_code = self._judge_pin(account, fields.get("52"), amount, pin_block_key)
        if pin_code != APPROVED:
            return pin_code
        return self._judge_amount(account, amount)

    def _judge_amount(self, account: AccountRow, amount: int) -> str:
        total, count = self.store.day_totals(account.pan, self.business_date())
        if amount > account.transaction_limit_fen or total + amount > account.daily_limit_fen:
            return OVER_AMOUNT_LIMIT
        if count >= account.daily_count_limit:
            return OVER_COUNT_LIMIT
        return APPROVED if account.balance_fen >= amount else NO_FUNDS

    def _judge_pin(self, account: AccountRow, block: str | None, amount: int, pin_block_key: bytes) -> str:
        if account.pin_failures >= PIN_TRIES:
            return PIN_TRIES_EXCEEDED
        if block is None:
            return APPROVED if amount <= account.no_pin_limit_fen else WRONG_PIN
        try:
            pin = decode_pin_block(bytes.fromhex(block), account.pan, pin_block_key)
        except PinBlockInvalid:
            return WRONG_PIN  # not a try of the card holder: the block was made under another key or number
        expected = account.pin_check or b""
        if hmac.compare_digest(expected, self._pin_check(account.pan, pin)):
            self.store.set_pin_failures(account.pan, 0)
            return APPROVED
        failures = account.pin_failures + 1
        self.store.set_pin_failures(account.pan, failures)
        return PIN_TRIES_EXCEEDED if failures >= PIN_TRIES else WRONG_PIN

    def _pin_check(self, pan: str, pin: str) -> bytes:
        """A PIN has few values: only a key keeps a copied database from giving it away."""
        return hmac_sm3(self._pin_key, f"{pan}\n{pin}".encode("ascii"))

    # ---- undoing --------------------------------------------------------------------------------------------------

    def _void(self, fields: Mapping[str, str], _: bytes) -> Fields:
        return self._give_back("void", fields, self._judge_void)

    def _refund(self, fields: Mapping[str, str], _: bytes) -> Fields:
        return self._give_back("refund", fields, self._judge_refund)

    def _give_back(
        self, kind: str, fields: Mapping[str, str], judge: Callable[[OperationRow, int], tuple[str, int]]
    ) -> Fields:
        """A void or a refund: judged once under its identity, then always the same answer."""
        amount = int(fields["4"])
        original = self.store.operation("debit", _original(fields))
        original_id = None if original is None else original.id
        seen = self.store.operation(kind, _identity(fields))
        if seen is not None:
            same = (seen.amount_fen, seen.pan, seen.original_id) == (amount, fields["2"], original_id)
            if not same:
                return self.answer(fields, DUPLICATE)
            return self._with_authorisation(fields, seen.response_code, seen.authorisation, seen.settlement_date)
        if original is None or original.pan != fields["2"] or original.response_code != APPROVED:
            code, moved, original_id = NOT_FOUND, 0, None
        else:
            code, moved = judge(original, amount)
        authorisation = self._authorisation() if code == APPROVED else None
        date = self.business_date()
        self._record(kind, fields, moved, original_id, code, authorisation, date, sign=+1)
        if moved and kind == "void" and original is not None:
            self.store.count_day(original.pan, original.settlement_date, -moved, -1)
        return self._with_authorisation(fields, code, authorisation, date)

    def _judge_void(self, original: OperationRow, amount: int) -> tuple[str, int]:
        if amount != original.amount_fen:
            return WRONG_ORIGINAL_AMOUNT, 0
        if self.store.undone_by(original.id):
            return APPROVED, 0
        if self.store.refunded_fen(original.id):
            return INVALID_TRANSACTION, 0
        if self.business_date() > original.settlement_date:
            return TOO_LATE, 0
        return APPROVED, amount

    def _judge_refund(self, original: OperationRow, amount: int) -> tuple[str, int]:
        if self.store.undone_by(original.id):
            return INVALID_TRANSACTION, 0
        if self.store.refunded_fen(original.id) + amount > original.amount_fen:
            return WRONG_ORIGINAL_AMOUNT, 0
        return APPROVED, amount

    def _reversal(self, fields: Mapping[str, str], _: bytes) -> Fields:
        """Judged anew each time it is repeated: what counts is what the debit is now."""
        named = _original(fields)
        original = self.store.operation("debit", named)
        if original is None:
            if self.profile.remembers_reversal:
                self.store.add_tombstone(named, self._clock.now())
            return self.answer(fields, NOT_FOUND)
        if original.amount_fen != int(fields["4"]) or original.pan != fields["2"]:
            return self.answer(fields, WRONG_ORIGINAL_AMOUNT)
        if original.moved_fen and not self.store.undone_by(original.id):
            if self.store.refunded_fen(original.id):
                return self.answer(fields, INVALID_TRANSACTION)
            self._record(
                "reversal", fields, original.amount_fen, original.id, APPROVED, None, self.business_date(), sign=+1
            )
            self.store.count_day(original.pan, original.settlement_date, -original.moved_fen, -1)
        return self.answer(fields, APPROVED)

    # ---- the rest -------------------------------------------------------------------------------------------------

    def _inquiry(self, fields: Mapping[str, str], _: bytes) -> Fields:
        original = self.store.operation("debit", _original(fields))
        if original is None or original.pan != fields["2"]:
            return self.answer(fields, NOT_FOUND)
        status = OriginalStatus(
            original.response_code, self._status(original), original.authorisation, original.settlement_date
        )
        # The amount in the books, so that whoever asks notices if it is not the one that was meant.
        return {**self.answer(fields, APPROVED), "4": f"{original.amount_fen:012d}", "62": status.field_62()}

    def _status(self, debit: OperationRow) -> DebitStatus:
        if debit.response_code != APPROVED:
            return DebitStatus.DECLINED
        undone = self.store.undone_by(debit.id)
        if undone:
            return DebitStatus.VOIDED if undone == "void" else DebitStatus.REVERSED
        refunded = self.store.refunded_fen(debit.id)
        if not refunded:
            return DebitStatus.LIVE
        return DebitStatus.REFUNDED if refunded == debit.amount_fen else DebitStatus.PARTLY_REFUNDED

    def _advice(self, fields: Mapping[str, str]) -> Fields:
        """An advice is taken note of, once; it moves nothing."""
        if self.store.operation("advice", _identity(fields)) is None:
            self._record("advice", fields, 0, None, APPROVED, None, self.business_date(), sign=+1)
        return self.answer(fields, APPROVED)

    def _record(
        self,
        kind: str,
        fields: Mapping[str, str],
        moved: int,
        original_id: int | None,
        code: str,
        authorisation: str | None,
        date: dt.date,
        *,
        sign: int,
    ) -> None:
        now, pan = self._clock.now(), fields.get("2", "")
        new = NewOperation(
            kind, _identity(fields), fields["42"].rstrip(), pan, int(fields["4"]), moved, original_id, code,
            authorisation, date,
        )  # fmt: skip
        operation_id = self.store.add_operation(new, now)
        if moved:
            self.store.move(pan, sign * moved, operation_id, now)

    def _with_authorisation(
        self, fields: Mapping[str, str], code: str, authorisation: str | None, date: dt.date
    ) -> Fields:
        more = {"38": authorisation} if authorisation else {}
        return {**self.answer(fields, code), **more, "15": f"{date:%m%d}"}

    def _authorisation(self) -> str:
        return self._ids.token(3).hex().upper()


def _identity(fields: Mapping[str, str]) -> IdentityKey:
    return IdentityKey(fields["41"], fields["7"], fields["11"], fields["37"])


def _original(fields: Mapping[str, str]) -> IdentityKey:
    named = read_original(fields)
    return IdentityKey(named.terminal_id, named.transmitted, named.trace, named.reference)

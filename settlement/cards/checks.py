"""May this card be used now, and may its bank be asked: each refusal with the code of its own cause."""

from __future__ import annotations

import datetime as dt

from settlement.businessdate import SHANGHAI
from settlement.cards.model import CardContext
from settlement.errors import ServiceError
from terminal_sdk.wire import CardRef


def check_usable(context: CardContext, ref: CardRef, now: dt.datetime, *, without_insurance: bool = False) -> None:
    """Return when the card's insurance side may be used, or (``without_insurance``) is left out.

    Else raise ``ServiceError`` with the first cause that holds.
    In this order: ``CARD_VOID``, ``CARD_LOST``, ``CARD_EXPIRED`` (after its last day in China), ``CARD_NOT_ACTIVATED``,
    ``CARD_FROZEN``, ``CARD_CERTIFICATE_MISMATCH`` (not the registered certificate, or one where there is
    none, or none where there is one), ``CARD_CERTIFICATE_EXPIRED``, ``CARD_CERTIFICATE_REVOKED``. The lasting causes
    come first, so that the till shows what no second try can change. The financial function is not judged here.
    ``without_insurance``: the patient agreed to pay without the insurance side while it is frozen.
    """
    code = _refusal(context, ref, now, without_insurance=without_insurance)
    if code is not None:
        raise ServiceError(code)


def bank_notice(context: CardContext) -> str | None:
    """Why the card's bank is not to be asked; None when it may be. Never a reason to refuse the insurance part."""
    if context.bank_code is None or context.pan_sealed is None:
        return "NO_BANK_ACCOUNT"
    if context.financial == "inactive":
        return "FINANCIAL_NOT_ACTIVE"
    if context.financial == "frozen":
        return "FINANCIAL_FROZEN"
    return None


def insurance_notice(context: CardContext) -> str | None:
    """Why the insurance accounts pay nothing although the card may be used; None when they pay first, as always."""
    return "CARD_FROZEN" if context.social == "frozen" else None


def china_date(moment: dt.datetime) -> dt.date:
    """The calendar date in China of an aware moment: the day by which cards expire."""
    return moment.astimezone(SHANGHAI).date()


def _refusal(  # noqa: PLR0911 - one return per code
    context: CardContext, ref: CardRef, now: dt.datetime, *, without_insurance: bool
) -> str | None:
    if context.life == "void":
        return "CARD_VOID"
    if context.life == "lost":
        return "CARD_LOST"
    if context.expires_on < china_date(now):
        return "CARD_EXPIRED"
    if context.social == "inactive":
        return "CARD_NOT_ACTIVATED"
    if context.social == "frozen" and not without_insurance:
        return "CARD_FROZEN"
    if ref.certificate_fingerprint != context.certificate_fingerprint:
        return "CARD_CERTIFICATE_MISMATCH"
    if context.certificate_not_after is not None and context.certificate_not_after < now:
        return "CARD_CERTIFICATE_EXPIRED"
    if context.certificate_revoked_at is not None:
        return "CARD_CERTIFICATE_REVOKED"
    return None

"""The body of every refusal."""

from __future__ import annotations

from msgspec import Struct

from terminal_sdk.wire.bills import Quote


class ErrorDetail(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A refusal: stable ``code``, what to do in ``message``, the field that is wrong where there is one."""

    code: str
    message: str
    field: str | None = None
    retry_after_ms: int | None = None
    settlement_id: str | None = None
    quote: Quote | None = None


class ErrorBody(Struct, frozen=True, kw_only=True):
    """The body of every 4xx and 5xx answer."""

    error: ErrorDetail

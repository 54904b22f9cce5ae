"""From bytes to typed requests: a body of bounded size that comes in bounded time, and strict decoding by field."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from settlement.api.limits import Limits
from settlement.errors import ServiceError

T = TypeVar("T", bound=msgspec.Struct)

_AT = re.compile(r"(?P<said>.*?)(?: - at `(?P<path>[^`]*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>[A-Za-z0-9_]+)`")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
_QUOTED = re.compile(r" '.*'", re.DOTALL)
_NUL = b"\\u0000"


async def read_body(request: web.Request, limits: Limits) -> bytes:
    """The whole body. Raises BODY_TOO_LARGE (also for one of unknown length), BODY_TOO_SLOW, UNSUPPORTED_MEDIA_TYPE
    for a compressed one, BAD_REQUEST for one that breaks off.
    """
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise ServiceError("UNSUPPORTED_MEDIA_TYPE")
    if request.content_length is not None and request.content_length > limits.body_bytes_max:
        raise ServiceError("BODY_TOO_LARGE")
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > limits.body_bytes_max:
                    raise ServiceError("BODY_TOO_LARGE")
    except TimeoutError:
        raise ServiceError("BODY_TOO_SLOW") from None
    except (web.RequestPayloadError, ConnectionError) as error:
        raise ServiceError("BAD_REQUEST", "The body broke off or was framed wrongly.") from error
    return bytes(body)


def check_media_type(request: web.Request) -> None:
    """The body must be JSON in UTF-8. Raises UNSUPPORTED_MEDIA_TYPE."""
    charset = (request.charset or "utf-8").lower()
    if request.content_type != "application/json" or charset not in {"utf-8", "utf8"}:
        raise ServiceError("UNSUPPORTED_MEDIA_TYPE")


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The request in a body. Raises BAD_JSON, and BAD_FIELD naming the first field that is wrong.

    Numbers JSON does not know (NaN, Infinity) are called a bad field too where the rest can be read.
    No message repeats a value: it may be somebody's number.
    """
    try:
        request = decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _bad_field(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        path = _path_of_nonsense(body)
        if path is None:
            raise ServiceError("BAD_JSON") from None
        raise ServiceError("BAD_FIELD", "Expected a number; NaN and Infinity are none.", field=path) from None
    if _NUL in body:  # no text of a bill holds one, and the database cannot keep it
        raise ServiceError("BAD_FIELD", "A text may not hold the character NUL.")
    return request


def convert(value: object, kind: Any, field: str) -> Any:
    """A single value by its wire type, as of a query parameter. Raises BAD_FIELD."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ServiceError("BAD_FIELD", _without_values(str(error)), field=field) from None


def _bad_field(text: str) -> ServiceError:
    match = _AT.fullmatch(text)
    said, path = (match["said"], match["path"] or "$") if match else (text, "$")
    if unknown := _UNKNOWN.fullmatch(said):
        said = "This field is not known here"
        path = f"{path}.{unknown['name']}" if _PLAIN_NAME.fullmatch(unknown["name"]) else path
    elif missing := _MISSING.fullmatch(said):
        said, path = "This field is missing", f"{path}.{missing['name']}"
    return ServiceError(
        "BAD_FIELD", f"{_without_values(said)}.", field=path.removeprefix("$").removeprefix(".") or None
    )


def _without_values(text: str) -> str:
    return _QUOTED.sub("", text)


class _Nonsense:
    """Stands where NaN or Infinity stood."""


def _path_of_nonsense(body: bytes) -> str | None:
    """Where a body that is JSON but for NaN or Infinity has the first of them; None for any other body."""
    if b"NaN" not in body and b"Infinity" not in body:
        return None
    marker = _Nonsense()
    try:
        return _find(json.loads(body, parse_constant=lambda _: marker), marker, "")
    except (ValueError, RecursionError):
        return None


def _find(value: object, marker: _Nonsense, path: str) -> str | None:
    if value is marker:
        return path or "$"
    inside: list[tuple[str, object]] = []
    if isinstance(value, dict):
        inside = [(_below(path, name), item) for name, item in value.items()]
    elif isinstance(value, list):
        inside = [(f"{path}[{place}]", item) for place, item in enumerate(value)]
    return next((found for where, item in inside if (found := _find(item, marker, where))), None)


def _below(path: str, name: str) -> str:
    """The path of a field; a name that no message has is not repeated."""
    if not _PLAIN_NAME.fullmatch(name):
        return path
    return f"{path}.{name}" if path else name

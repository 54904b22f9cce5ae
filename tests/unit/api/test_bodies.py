"""Whatever a body holds, decoding it ends in a message or in a refusal, quickly."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from settlement.api.bodies import convert, decode
from settlement.api.examples import REQUESTS
from settlement.errors import ServiceError
from terminal_sdk import wire

DECODERS = [msgspec.json.Decoder(type(request)) for request in REQUESTS.values()]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def refused(decoder: msgspec.json.Decoder[Any], body: bytes) -> ServiceError | None:
    try:
        decode(decoder, body)
    except ServiceError as error:
        return error
    return None


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
@example(b'{"a":' * 10_000 + b"NaN")
@example(b"[" * 10_000 + b"NaN" + b"]" * 10_000)
@example(b"[" * 900 + b"NaN" + b"]" * 900)
@example(b'{"\\u0000":NaN}')
@example(b"9" * 100_000)
@example(b"NaN")
def test_any_bytes_are_refused_and_no_more(body: bytes) -> None:
    for decoder in DECODERS:
        error = refused(decoder, body)
        assert error is not None
        assert error.code in {"BAD_JSON", "BAD_FIELD"}


@given(st.data())
def test_any_value_in_any_field_is_taken_or_refused_by_that_field(data: st.DataObject) -> None:
    name, request = data.draw(st.sampled_from(sorted(REQUESTS.items())))
    fields: dict[str, Any] = msgspec.to_builtins(request)
    field = data.draw(st.sampled_from(sorted(fields)))
    body = json.dumps(fields | {field: data.draw(JSON)}).encode()
    error = refused(msgspec.json.Decoder(type(REQUESTS[name])), body)
    if error is not None and error.code == "BAD_FIELD" and error.field is not None:
        assert error.field.startswith(field)


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), float("-inf")])
def test_nonsense_numbers_are_found_where_they_are(nonsense: float) -> None:
    fields: dict[str, Any] = msgspec.to_builtins(REQUESTS["quote"])
    fields["lines"][1]["amount_fen"] = nonsense
    error = refused(msgspec.json.Decoder(wire.QuoteRequest), json.dumps(fields).encode())
    assert error is not None
    assert (error.code, error.field) == ("BAD_FIELD", "lines[1].amount_fen")


def test_a_backslash_that_only_looks_like_nul_is_not_the_point() -> None:
    body = json.dumps(msgspec.to_builtins(REQUESTS["reverse"]) | {"reason": "NUL \\x00"}).encode()
    assert refused(msgspec.json.Decoder(wire.ReversalRequest), body) is None


@pytest.mark.parametrize("key", [None, "", "short", "x" * 65, "KEY 0001 0001", "KEY-0001-0001\n", "KEY-\0001-0001"])
def test_bad_keys(key: object) -> None:
    with pytest.raises(ServiceError, match="BAD_FIELD") as caught:
        convert(key, wire.IdempotencyKey, "idempotency_key")
    assert caught.value.field == "idempotency_key"

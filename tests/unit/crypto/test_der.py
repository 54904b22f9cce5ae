"""Raw and DER forms of signatures and ciphertexts: exact both ways, and only the one DER form is read."""

from __future__ import annotations

import pytest
from asn1crypto.algos import DSASignature
from hypothesis import given
from hypothesis import strategies as st

from terminal_sdk.crypto import der

numbers = st.integers(0, 2**256 - 1)


@given(r=numbers, s=numbers)
def test_signature_round_trip_agrees_with_an_asn1_library(r: int, s: int) -> None:
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    encoded = der.signature_to_der(raw)
    assert encoded == DSASignature({"r": r, "s": s}).dump()
    assert der.signature_from_der(encoded) == raw


@given(x=numbers, y=numbers, digest=st.binary(min_size=32, max_size=32), masked=st.binary(min_size=1, max_size=255))
def test_ciphertext_round_trip(x: int, y: int, digest: bytes, masked: bytes) -> None:
    raw = b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big") + digest + masked
    assert der.ciphertext_from_der(der.ciphertext_to_der(raw)) == raw


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("", id="nothing"),
        pytest.param("30", id="only a tag"),
        pytest.param("3080", id="indefinite length"),
        pytest.param("308106020101020101", id="length in a longer form"),
        pytest.param("3006020101020101 00", id="bytes after the sequence"),
        pytest.param("3007020101020101 00", id="bytes after s"),
        pytest.param("3007020101020101", id="truncated"),
        pytest.param("300602010102 0181", id="negative"),
        pytest.param("30070202000102 0101", id="leading zero"),
        pytest.param("3005 0200 020101", id="empty integer"),
        pytest.param("3006020101040101", id="another type"),
        pytest.param("3026 0221 01" + "00" * 32 + "020101", id="more than 32 bytes"),
        pytest.param("3006020101", id="no s"),
        pytest.param("30850102030405", id="length of five bytes"),
    ],
)
def test_other_forms_of_a_signature_are_refused(data: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any of its messages
        der.signature_from_der(bytes.fromhex(data))


@given(data=st.binary(max_size=80))
def test_any_bytes_give_a_signature_or_a_value_error(data: bytes) -> None:
    for read in (der.signature_from_der, der.ciphertext_from_der):
        try:
            assert len(read(b"\x30" + data)) >= 64
        except ValueError:
            continue

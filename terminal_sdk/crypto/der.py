"""SM2 signatures and ciphertexts between raw bytes (our wire form) and ASN.1 DER (certificates, native libraries)."""

from __future__ import annotations

_INTEGER, _OCTETS, _SEQUENCE = 0x02, 0x04, 0x30
_LONG_FORM = 0x80
_LENGTH_BYTES_MAX = 2  # 64 KiB is plenty
_COMPONENT = 32


def signature_to_der(signature: bytes) -> bytes:
    """r‖s (64 bytes) as ECDSA-Sig-Value."""
    r = int.from_bytes(signature[:_COMPONENT], "big")
    s = int.from_bytes(signature[_COMPONENT:], "big")
    return _element(_SEQUENCE, _integer(r) + _integer(s))


def signature_from_der(data: bytes) -> bytes:
    """ECDSA-Sig-Value as r‖s (64 bytes). ``ValueError`` unless it is exactly the DER form of two such numbers."""
    body = _only(_SEQUENCE, data)
    r_bytes, rest = _take(_INTEGER, body)
    s_bytes = _only(_INTEGER, rest)
    return _unsigned(r_bytes) + _unsigned(s_bytes)


def ciphertext_to_der(ciphertext: bytes) -> bytes:
    """04‖x‖y‖C3‖C2 as SM2Cipher (GM/T 0009)."""
    x = int.from_bytes(ciphertext[1:33], "big")
    y = int.from_bytes(ciphertext[33:65], "big")
    digest, masked = ciphertext[65:97], ciphertext[97:]
    return _element(_SEQUENCE, _integer(x) + _integer(y) + _element(_OCTETS, digest) + _element(_OCTETS, masked))


def ciphertext_from_der(data: bytes) -> bytes:
    """SM2Cipher (GM/T 0009) as 04‖x‖y‖C3‖C2. ``ValueError`` when malformed."""
    body = _only(_SEQUENCE, data)
    x, rest = _take(_INTEGER, body)
    y, rest = _take(_INTEGER, rest)
    digest, rest = _take(_OCTETS, rest)
    masked = _only(_OCTETS, rest)
    if len(digest) != _COMPONENT:
        raise ValueError("C3 is not 32 bytes")
    return b"\x04" + _unsigned(x) + _unsigned(y) + digest + masked


def _element(tag: int, body: bytes) -> bytes:
    size = len(body)
    if size < _LONG_FORM:
        return bytes((tag, size)) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG_FORM | len(length))) + length + body


def _integer(value: int) -> bytes:
    return _element(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _unsigned(body: bytes) -> bytes:
    """A non-negative INTEGER's content in its one DER form, as 32 bytes."""
    if not body or body[0] & 0x80 or (len(body) > 1 and body[0] == 0 and not body[1] & 0x80):
        raise ValueError("not a non-negative DER integer")
    value = body[1:] if body[0] == 0 else body
    if len(value) > _COMPONENT:
        raise ValueError("integer longer than 32 bytes")
    return value.rjust(_COMPONENT, b"\0")


def _take(tag: int, data: bytes) -> tuple[bytes, bytes]:
    """The content of the first element, which must have this tag, and what follows it."""
    if data[:1] != bytes((tag,)) or len(data) == 1:
        raise ValueError("unexpected DER tag")
    size, start = data[1], 2
    if size & _LONG_FORM:
        count = size & ~_LONG_FORM
        start += count
        length = data[2:start]
        size = int.from_bytes(length, "big")
        if not len(length) == count <= _LENGTH_BYTES_MAX or size < _LONG_FORM or length[0] == 0:
            raise ValueError("not a DER length")
    if len(data) < start + size:
        raise ValueError("truncated DER element")
    return data[start : start + size], data[start + size :]


def _only(tag: int, data: bytes) -> bytes:
    body, rest = _take(tag, data)
    if rest:
        raise ValueError("bytes after the DER element")
    return body

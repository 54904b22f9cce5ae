"""What is signed and how: the request MAC, the sign-in message and the challenge a card signs for a settlement."""

from __future__ import annotations

import struct

from terminal_sdk.crypto import hmac_sm3, sm3

SESSION_HEADER = "X-Terminal-Session"
TIME_HEADER = "X-Time"
NONCE_HEADER = "X-Nonce"
MAC_HEADER = "X-Mac"


def request_mac(mac_key: bytes, method: str, path_qs: str, time_ms: int, nonce: str, body: bytes) -> str:
    """HMAC-SM3 (hex) over method, path with query, time (ms), nonce and body digest: authenticates one request."""
    text = f"{method}\n{path_qs}\n{time_ms}\n{nonce}\n{sm3(body).hex()}"
    return hmac_sm3(mac_key, text.encode()).hex()


def response_mac(mac_key: bytes, status: int, nonce: str, body: bytes) -> str:
    """HMAC-SM3 (hex) over status, the request's nonce and body digest: proves who answered, and to what."""
    text = f"{status}\n{nonce}\n{sm3(body).hex()}"
    return hmac_sm3(mac_key, text.encode()).hex()


def sign_in_message(terminal_id: str, challenge: str) -> bytes:
    """What a terminal signs to sign in (签到)."""
    return f"settlement-sign-in-1\n{terminal_id}\n{challenge}".encode()


def settlement_challenge(*, terminal_id: str, visit_no: str, total_fen: int, agreed: str, signed_at_ms: int) -> bytes:
    """The 32 bytes a card signs: binds terminal, visit, bill, what was agreed to, and time (ms).

    ``agreed`` is ``quote:<digest>`` or ``ceiling:<fen>``.
    """
    text = f"settlement-proof-1\n{terminal_id}\n{visit_no}\n{total_fen}\n{agreed}\n{signed_at_ms}"
    return sm3(text.encode())


def card_signed_message(card_number: str, counter: int, challenge: bytes) -> bytes:
    """The message under a card's signature: its number, its counter (4 bytes, big-endian) and the challenge."""
    return b"SXCARD1" + card_number.encode("ascii") + struct.pack(">I", counter) + challenge

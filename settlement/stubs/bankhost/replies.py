"""Answers as a fault would have them: what is changed in the fields, and what is done to the bytes."""

from __future__ import annotations

from collections.abc import Mapping

from settlement.banks.iso.codec import pack
from settlement.banks.iso.framing import frame
from settlement.banks.iso.spec import Mti
from settlement.stubs.bankhost.faults import is_after
from settlement.stubs.bankhost.wire import FaultSpec

SILENT = frozenset({"drop_before_commit", "drop_after_commit", "close", "flood", "stall_reading"})
"""Actions after which no answer is sent."""

_NOISE = {
    "garbage": frame(b"\xff\x00 this is not a message \x00\xff" * 2),
    "huge_length": b"\xff\xff" + b"0" * 100,
}
_STRAYS_MOST = 64
_US_DOLLAR = "840"
_NUMBER_OF = {"terminal_id": "41", "transmitted": "7", "trace": "11", "reference": "37"}


def change_fields(fields: dict[str, str], fault: FaultSpec | None) -> dict[str, str]:
    """The answer's fields as the fault has them."""
    if fault is None:
        return fields
    if is_after(fault, "answer_code", "before_commit") and fault.code:
        return {**{number: value for number, value in fields.items() if number != "38"}, "39": fault.code}
    return {**fields, **_wrong(fields, fault)}


def _wrong(fields: Mapping[str, str], fault: FaultSpec) -> Mapping[str, str]:
    """The fields in which the answer is wrong."""
    match fault.action:
        case "wrong_amount":
            return {"4": f"{(int(fields.get('4', '0')) + 1) % 10**12:012d}"}
        case "wrong_currency":
            return {"49": _US_DOLLAR}
        case "wrong_identity":
            number = _NUMBER_OF[fault.part]
            return {number: _another(fields.get(number, "0"))}
        case "wrong_mti":
            inquiry = fields["t"] == Mti.INQUIRY_ANSWER
            return {"t": str(Mti.FINANCIAL_ANSWER if inquiry else Mti.INQUIRY_ANSWER)}
        case _:
            return {}


def _otherwise(fields: Mapping[str, str]) -> dict[str, str]:
    """The same answer, declined if it was approved, and the other way round."""
    rest = {number: value for number, value in fields.items() if number not in {"38", "62"}}
    return {**rest, "39": "05" if fields["39"] == "00" else "00"}


def _another(value: str) -> str:
    return value[:-1] + ("1" if value[-1] == "0" else "0")


def strays(fields: Mapping[str, str], mac_key: bytes, count: int) -> list[bytes]:
    """So many frames (64 different ones at most) that answer questions nobody asked, with a MAC that is right."""
    bodies = (pack({**fields, "37": f"STRAY{number:07d}"}, mac_key) for number in range(min(count, _STRAYS_MOST)))
    return [frame(body) for body in bodies]


def to_frames(fields: Mapping[str, str], mac_key: bytes, fault: FaultSpec | None) -> list[bytes]:
    """The bytes to send, in the pieces in which they are to be sent."""
    if fault is not None and fault.action in _NOISE:
        return [_NOISE[fault.action]]
    body = pack(fields, mac_key)
    if fault is not None and fault.action == "wrong_mac":
        body = body[:-1] + (b"0" if body[-1:] != b"0" else b"1")
    whole = frame(body)
    return [whole] if fault is None else _pieces(whole, fields, mac_key, fault)


def _pieces(whole: bytes, fields: Mapping[str, str], mac_key: bytes, fault: FaultSpec) -> list[bytes]:
    match fault.action:
        case "unsolicited":
            different = strays(fields, mac_key, fault.frames)
            return [b"".join(different[number % len(different)] for number in range(fault.frames)) + whole]
        case "duplicate":
            return [whole * (1 + fault.frames)]
        case "contradict":
            return [whole + frame(pack(_otherwise(fields), mac_key))]
        case "half_frame":
            return [whole[: len(whole) // 2]]
        case "trickle":
            return [whole[place : place + 1] for place in range(len(whole))]
        case _:
            return [whole]

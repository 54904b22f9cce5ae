"""Answers as a fault would have them: what is changed in the fields, and what is done to the bytes."""

from __future__ import annotations

from collections.abc import Mapping

from settlement.banks.iso.codec import pack
from settlement.banks.iso.framing import frame
from settlement.stubs.bankhost.faults import is_after
from settlement.stubs.bankhost.wire import FaultSpec

SILENT = frozenset({"drop_before_commit", "drop_after_commit", "close"})
"""Actions after which no answer is sent."""

_GARBAGE = frame(b"\xff\x00 this is not a message \x00\xff" * 2)


def change_fields(fields: dict[str, str], fault: FaultSpec | None) -> dict[str, str]:
    """The answer's fields as the fault has them."""
    if fault is None:
        return fields
    if is_after(fault, "answer_code", "before_commit") and fault.code:
        return {**{number: value for number, value in fields.items() if number != "38"}, "39": fault.code}
    if fault.action == "wrong_amount":
        return {**fields, "4": f"{(int(fields.get('4', '0')) + 1) % 10**12:012d}"}
    if fault.action == "wrong_identity":
        reference = fields.get("37", "0" * 12)
        return {**fields, "37": reference[:-1] + ("1" if reference[-1] == "0" else "0")}
    return fields


def to_frames(fields: Mapping[str, str], mac_key: bytes, fault: FaultSpec | None) -> list[bytes]:
    """The bytes to send, in the pieces in which they are to be sent."""
    action = None if fault is None else fault.action
    if action == "garbage":
        return [_GARBAGE]
    body = pack(fields, mac_key)
    if action == "wrong_mac":
        body = body[:-1] + (b"0" if body[-1:] != b"0" else b"1")
    whole = frame(body)
    if action == "duplicate":
        return [whole, whole]
    if action == "half_frame":
        return [whole[: len(whole) // 2]]
    if action == "trickle":
        return [whole[place : place + 1] for place in range(len(whole))]
    return [whole]

"""The keys of a bank link, as JavaScript makes them from nothing but the zone master key."""

from __future__ import annotations

from tests.interop.node import Node


def derived(node: Node, zone_key: bytes, bank: str, purpose: str) -> str:
    """The key of a purpose (``bank-network-mac``, ``bank-key-seal``); hex."""
    key: str = node.call("sm4.diversify", masterKey=zone_key.hex(), diversifier=bank.encode().hex(), purpose=purpose)
    return key


def opened(node: Node, zone_key: bytes, bank: str, answer: dict[str, str]) -> bytes:
    """MAC key and PIN key (16 bytes each) from the answer to a key change. Fails where they are not authentic."""
    context = f"{bank}\n{answer['53']}\n{answer['7']}{answer['11']}{answer['37']}".encode("ascii").hex()
    seal_key, sealed = derived(node, zone_key, bank, "bank-key-seal"), answer["48"].lower()
    keys = node.call("sm4.gcm", key=seal_key, nonce=sealed[:24], data=sealed[24:], additional=context, open=True)
    assert keys is not None
    return bytes.fromhex(keys)

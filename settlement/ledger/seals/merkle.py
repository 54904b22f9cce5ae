"""Merkle trees over SM3 as in RFC 6962, section 2.1: leaves and nodes are hashed in domains of their own."""

from __future__ import annotations

from collections.abc import Iterable

from terminal_sdk.crypto import sm3

HASH_BYTES = 32
_LEAF = b"\x00"
_NODE = b"\x01"


def leaf_hash(content: bytes) -> bytes:
    """The hash of a leaf, 32 bytes: SM3 of 0x00 and its content."""
    return sm3(_LEAF + content)


class Tree:
    """The root of leaves that come one after another; keeps one hash for each level, however many leaves come."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """The next leaf's hash."""
        # Each peak is a full subtree; the low bits of the size that are set say which of them close now.
        closing = self.size
        while closing & 1:
            leaf = _node_hash(self._peaks.pop(), leaf)
            closing >>= 1
        self._peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root over what was added so far; of no leaves, SM3 of nothing."""
        if not self._peaks:
            return sm3(b"")
        *rest, root = self._peaks
        for peak in reversed(rest):
            root = _node_hash(peak, root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes in their order."""
    tree = Tree()
    for leaf in leaves:
        tree.add(leaf)
    return tree.root()


def _node_hash(left: bytes, right: bytes) -> bytes:
    return sm3(_NODE + left + right)

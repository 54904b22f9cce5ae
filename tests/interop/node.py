"""One Node.js process for all tests: it runs the npm packages that ours is held against, and answers line by line."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from terminal_sdk.crypto import DecryptionFailed, Sm2PrivateKey, Sm2PublicKey
from tests.support.tools import not_here

HERE = Path(__file__).parent
PACKAGES = ("sm-crypto", "iso_8583")


class NodeError(Exception):
    """What an operation threw in JavaScript."""


class Node:
    """The process. ``call`` may be used from any thread; bytes go and come as hex."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._turn = threading.Lock()

    def call(self, operation: str, **asked: Any) -> Any:
        """Run an operation of ``worker.js``. Raises ``NodeError`` with what it threw."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._turn:
            self._process.stdin.write(json.dumps({"operation": operation} | asked) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise NodeError("the process is gone")
        answer = json.loads(line)
        if "error" in answer:
            raise NodeError(answer["error"])
        return answer["result"]


@contextmanager
def running_node() -> Iterator[Node]:
    """Start the process, end it afterwards; skips the test where it cannot be had (fails where CI should have it)."""
    program = shutil.which("node")
    if program is None:
        not_here("needs Node.js: apt-get install nodejs npm, then make dev")
    missing = [package for package in PACKAGES if not (HERE / "node_modules" / package).is_dir()]
    if missing:
        not_here(f"needs the npm packages {', '.join(missing)}: make dev (or npm ci in tests/interop)")
    with subprocess.Popen(
        [program, "worker.js"], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        yield Node(process)  # leaving the block closes its input, at which it ends by itself


class NodeKey(Sm2PrivateKey):
    """A private key that works in JavaScript only: whoever signs or decrypts with it has sm-crypto do it."""

    __slots__ = ("_node",)

    def __init__(self, node: Node) -> None:
        pair = node.call("sm2.generate")
        super().__init__(bytes.fromhex(pair["privateKey"]), Sm2PublicKey.from_bytes(bytes.fromhex(pair["publicKey"])))
        self._node = node

    def sign(self, message: bytes, identity: bytes = b"1234567812345678") -> bytes:
        """64 bytes r‖s, by sm-crypto."""
        signature = self._node.call(
            "sm2.sign", message=message.hex(), privateKey=self.to_bytes().hex(), identity=identity.decode("ascii")
        )
        return bytes.fromhex(signature)

    def decrypt(self, ciphertext: bytes) -> bytes:
        """By sm-crypto. ``DecryptionFailed`` where it gives nothing."""
        opened = self._node.call("sm2.decrypt", ciphertext=ciphertext.hex(), privateKey=self.to_bytes().hex())
        if opened is None:
            raise DecryptionFailed("SM2: cannot be decrypted")
        return bytes.fromhex(opened)

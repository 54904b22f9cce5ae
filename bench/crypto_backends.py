"""Measures the libraries that could do the national algorithms, in one run, and whether each lets other threads run.

    python -m bench crypto [--seconds 1.0]

Every candidate signs and verifies a 512-byte message under the default identity with the key given as bytes, as the
service meets it (a card's key is new at every settlement). Figures are operations per second of CPU time, the best
of three runs; "verify 1 thread / 2 threads" are operations per second of wall time. Candidates that are not
installed are named and left out: tongsuopy, gmalglib and gmssl-fast are not dependencies of the project.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib
import importlib.util
import os
import platform
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.parts.crypto import per_cpu_second
from terminal_sdk import crypto
from terminal_sdk.crypto import backends
from terminal_sdk.crypto.backends.openssl_sm2 import OpensslSm2

Operation = Callable[[], Any]
MESSAGE = b"\x5a" * 512
SM4_KEY, IV, NONCE = bytes(range(16)), bytes(range(16)), bytes(range(12))
COLUMNS = ("sign", "verify", "sm3", "hmac", "sm4-cbc", "sm4-gcm")
RUNS = 3


@dataclass(frozen=True)
class Candidate:
    """A library: the name shown, the module it needs, and what makes its operations from a key pair."""

    name: str
    module: str
    operations: Callable[[bytes, bytes], dict[str, Operation]]


def ours(wanted: str) -> Callable[[bytes, bytes], dict[str, Operation]]:
    """The package's own interface over one of its backends."""

    def operations(private: bytes, public: bytes) -> dict[str, Operation]:
        _choose(wanted)
        key = crypto.Sm2PrivateKey.from_bytes(private)
        signature = key.sign(MESSAGE)
        return {
            "sign": lambda: key.sign(MESSAGE),
            "verify": lambda: crypto.Sm2PublicKey.from_bytes(public).verify(MESSAGE, signature),
            "sm3": lambda: crypto.sm3(MESSAGE),
            "hmac": lambda: crypto.hmac_sm3(SM4_KEY, MESSAGE),
            "sm4-cbc": lambda: crypto.sm4_cbc_encrypt(SM4_KEY, IV, MESSAGE),
            "sm4-gcm": lambda: crypto.sm4_gcm_encrypt(SM4_KEY, NONCE, MESSAGE),
        }

    return operations


def tongsuopy(private: bytes, public: bytes) -> dict[str, Operation]:
    """Tongsuo through its own wheel."""
    ec = importlib.import_module("tongsuopy.crypto.asymciphers.ec")
    hashes = importlib.import_module("tongsuopy.crypto.hashes")
    ciphers = importlib.import_module("tongsuopy.crypto.ciphers")
    algorithms = importlib.import_module("tongsuopy.crypto.ciphers.algorithms")
    modes = importlib.import_module("tongsuopy.crypto.ciphers.modes")
    aead = importlib.import_module("tongsuopy.crypto.ciphers.aead")
    key = ec.derive_private_key(int.from_bytes(private, "big"), ec.SM2())
    kind = ec.ECDSA(hashes.SM3())
    signature = key.sign(MESSAGE, kind)

    def digest() -> bytes:
        context = hashes.Hash(hashes.SM3())
        context.update(MESSAGE)
        return bytes(context.finalize())

    return {
        "sign": lambda: key.sign(MESSAGE, kind),
        "verify": lambda: ec.EllipticCurvePublicKey.from_encoded_point(ec.SM2(), public).verify(
            signature, MESSAGE, kind
        ),
        "sm3": digest,
        "sm4-cbc": lambda: ciphers.Cipher(algorithms.SM4(SM4_KEY), modes.CBC(IV)).encryptor().update(MESSAGE),
        "sm4-gcm": lambda: aead.SM4GCM(SM4_KEY).encrypt(NONCE, MESSAGE, None),
    }


def gmalglib(private: bytes, public: bytes) -> dict[str, Operation]:
    """A C extension built from its source distribution."""
    sm2 = importlib.import_module("gmalglib.sm2")
    sm3 = importlib.import_module("gmalglib.sm3")
    signer = sm2.SM2(private)
    signature = signer.sign(MESSAGE)
    return {
        "sign": lambda: signer.sign(MESSAGE),
        "verify": lambda: expect(sm2.SM2(pk=public).verify(MESSAGE, signature)),
        "sm3": lambda: sm3.SM3(MESSAGE).digest(),
    }


def gmssl_fast(private: bytes, public: bytes) -> dict[str, Operation]:
    """GmSSL through another wheel."""
    fast = importlib.import_module("gmssl_fast")
    signer = fast.SM2(private_key=private.hex(), public_key=public.hex())
    signature = signer.sign(MESSAGE)
    return {
        "sign": lambda: signer.sign(MESSAGE),
        "verify": lambda: expect(fast.SM2(public_key=public.hex()).verify(MESSAGE, signature)),
        "sm3": lambda: fast.sm3(MESSAGE),
        "hmac": lambda: fast.sm3_hmac(SM4_KEY, MESSAGE),
        "sm4-cbc": lambda: fast.SM4(SM4_KEY, "cbc", IV).encrypt(MESSAGE),
        "sm4-gcm": lambda: fast.SM4GCM(SM4_KEY, NONCE).encrypt(MESSAGE),
    }


def gmssl(private: bytes, public: bytes) -> dict[str, Operation]:
    """Pure Python: the cross-check, never the hot path."""
    sm2 = importlib.import_module("gmssl.sm2")
    sm3 = importlib.import_module("gmssl.sm3")
    sm4 = importlib.import_module("gmssl.sm4")
    key = sm2.CryptSM2(private_key=private.hex(), public_key="")
    key.public_key = public[1:].hex()
    signature = key.sign_with_sm3(MESSAGE)

    def cbc() -> Any:
        cipher = sm4.CryptSM4()
        cipher.set_key(SM4_KEY, sm4.SM4_ENCRYPT)
        return cipher.crypt_cbc(IV, MESSAGE)

    return {
        "sign": lambda: key.sign_with_sm3(MESSAGE),
        "verify": lambda: expect(key.verify_with_sm3(signature, MESSAGE)),
        "sm3": lambda: sm3.sm3_hash(list(MESSAGE)),
        "sm4-cbc": cbc,
    }


def hashlib_sm3(private: bytes, public: bytes) -> dict[str, Operation]:
    """The OpenSSL that Python itself is linked with; it has no SM2 and no SM4."""
    del private, public
    return {
        "sm3": lambda: hashlib.new("sm3", MESSAGE).digest(),
        "hmac": lambda: hmac.digest(SM4_KEY, MESSAGE, "sm3"),
    }


CANDIDATES = (
    Candidate("openssl (ours)", "cryptography", ours("openssl")),
    Candidate("gmssl-pyx (ours)", "gmssl_pyx", ours("gmssl-pyx")),
    Candidate("tongsuopy", "tongsuopy", tongsuopy),
    Candidate("gmalglib", "gmalglib", gmalglib),
    Candidate("gmssl-fast", "gmssl_fast", gmssl_fast),
    Candidate("gmssl (pure Python)", "gmssl", gmssl),
    Candidate("hashlib", "hashlib", hashlib_sm3),
)


def expect(accepted: object) -> None:
    """A candidate that refuses its own signature has a figure that means nothing."""
    if not accepted:
        raise SystemExit("a right signature was refused")


def best_per_cpu_second(operation: Operation, seconds: float) -> float:
    """Operations per second of CPU time, the best of three runs."""
    return max(per_cpu_second(operation, seconds / RUNS) for _ in range(RUNS))


def per_wall_second(operation: Operation, threads: int, seconds: float) -> float:
    """Operations per second of wall time, summed over so many threads."""
    counts = [0] * threads
    begin = threading.Barrier(threads)

    def work(mine: int) -> None:
        begin.wait()
        stop = time.perf_counter() + seconds
        while time.perf_counter() < stop:
            operation()
            counts[mine] += 1

    workers = [threading.Thread(target=work, args=(mine,)) for mine in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / seconds


def row(candidate: Candidate, private: bytes, public: bytes, seconds: float) -> list[str]:
    """One line of the table."""
    operations = candidate.operations(private, public)
    cells = [
        f"{best_per_cpu_second(operations[name], seconds):,.0f}" if name in operations else "–" for name in COLUMNS
    ]
    if "verify" not in operations:
        return [candidate.name, *cells, "–", "–"]
    one, two = (
        max(per_wall_second(operations["verify"], threads, seconds / RUNS) for _ in range(RUNS)) for threads in (1, 2)
    )
    return [candidate.name, *cells, f"{one:,.0f} / {two:,.0f}", f"{two / one:.2f}"]


def _choose(wanted: str | None) -> None:
    """Let ``terminal_sdk.crypto`` use this backend from now on; None: the one it chooses itself."""
    os.environ.pop(backends.ENVIRONMENT_VARIABLE, None)
    if wanted is not None:
        os.environ[backends.ENVIRONMENT_VARIABLE] = wanted
    backends.backend.cache_clear()


def compare(seconds: float) -> list[str]:
    """The table, line by line; so many seconds for each figure."""
    private, point = OpensslSm2().generate()
    lines = [["library", *COLUMNS, "verify 1 / 2 threads", "gain"]]
    chosen = os.environ.get(backends.ENVIRONMENT_VARIABLE)
    try:
        for candidate in CANDIDATES:
            if importlib.util.find_spec(candidate.module) is None:
                lines.append([candidate.name, "not installed"])
            else:
                lines.append(row(candidate, private, b"\x04" + point, seconds))
    finally:
        _choose(chosen)
    widths = [max(len(line[column]) for line in lines if column < len(line)) for column in range(len(lines[0]))]
    table = [f"{OpensslSm2().version} · Python {platform.python_version()} · {os.cpu_count()} CPUs"]
    for line in lines:
        figures = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=False)]
        table.append("  ".join([line[0].ljust(widths[0]), *figures]))
    return table

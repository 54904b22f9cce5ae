"""Which native library does the work: the first that passes its known-answer test, or the one asked for."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from terminal_sdk.crypto.backends.port import Sm2Engine, SymmetricEngine
from terminal_sdk.crypto.backends.self_test import sm2_works, symmetric_works
from terminal_sdk.crypto.errors import BackendUnavailable

__all__ = ["ENVIRONMENT_VARIABLE", "Backend", "Sm2Engine", "SymmetricEngine", "backend", "choose"]

ENVIRONMENT_VARIABLE = "SETTLEMENT_CRYPTO_BACKEND"
"""Set to ``openssl`` or ``gmssl-pyx``: that library does everything, or nothing starts. Unset: the first that works."""

Engine = TypeVar("Engine", Sm2Engine, SymmetricEngine)


@dataclass(frozen=True)
class Backend:
    """The libraries at work in this process, one for SM2, one for SM3 and SM4."""

    sm2: Sm2Engine
    symmetric: SymmetricEngine

    @property
    def name(self) -> str:
        """For a banner or a log: ``sm2=openssl sm3/sm4=openssl``."""
        return f"sm2={self.sm2.name} sm3/sm4={self.symmetric.name}"

    @property
    def releases_gil(self) -> bool:
        """Whether an SM2 verification leaves the GIL to others, so that it is worth a thread."""
        return self.sm2.releases_gil


@functools.cache
def backend() -> Backend:
    """The backend of this process, chosen once, at first use. ``BackendUnavailable`` where there is none."""
    return choose(os.environ.get(ENVIRONMENT_VARIABLE, ""))


def choose(wanted: str = "") -> Backend:
    """The engines in order of preference (docs/decisions/0001), or those of the one library named ``wanted``."""
    if wanted and wanted not in _SM2:
        raise BackendUnavailable(f"{ENVIRONMENT_VARIABLE} is one of {', '.join(_SM2)}, or unset")
    return Backend(
        sm2=_first("SM2", _SM2, wanted, sm2_works),
        symmetric=_first("SM3 and SM4", _SYMMETRIC, wanted, symmetric_works),
    )


def _openssl_sm2() -> Sm2Engine:
    from terminal_sdk.crypto.backends.openssl_sm2 import OpensslSm2

    return OpensslSm2()


def _gmssl_pyx_sm2() -> Sm2Engine:
    from terminal_sdk.crypto.backends.gmssl_pyx import GmsslPyxSm2

    return GmsslPyxSm2()


def _openssl_symmetric() -> SymmetricEngine:
    from terminal_sdk.crypto.backends.openssl_symmetric import OpensslSymmetric

    return OpensslSymmetric()


def _gmssl_pyx_symmetric() -> SymmetricEngine:
    from terminal_sdk.crypto.backends.gmssl_pyx import GmsslPyxSymmetric

    return GmsslPyxSymmetric()


_SM2: dict[str, Callable[[], Sm2Engine]] = {"openssl": _openssl_sm2, "gmssl-pyx": _gmssl_pyx_sm2}
_SYMMETRIC: dict[str, Callable[[], SymmetricEngine]] = {
    "openssl": _openssl_symmetric,
    "gmssl-pyx": _gmssl_pyx_symmetric,
}


def _first(
    what: str, makers: Mapping[str, Callable[[], Engine]], wanted: str, works: Callable[[Engine], bool]
) -> Engine:
    refusals = []
    for name, make in makers.items():
        if wanted and name != wanted:
            continue
        try:
            engine = make()
            if works(engine):
                return engine
            refusals.append(f"{name}: wrong answers in the self-test")
        except Exception as error:
            refusals.append(f"{name}: {error!r}")
    advice = "install gmssl-pyx, or OpenSSL 3 (libssl3) and cryptography"
    raise BackendUnavailable(f"no library here does {what} ({'; '.join(refusals)}); {advice}")

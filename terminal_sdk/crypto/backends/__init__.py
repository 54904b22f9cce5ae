"""Which native library does the work: the first that passes its known-answer test, or the one asked for."""

from __future__ import annotations

import functools

from terminal_sdk.crypto.backends.gmssl_pyx import GmsslPyxBackend
from terminal_sdk.crypto.backends.port import Backend

__all__ = ["Backend", "backend"]


@functools.cache
def backend() -> Backend:
    """The backend of this process."""
    return GmsslPyxBackend()

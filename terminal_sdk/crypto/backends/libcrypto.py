"""The C functions of the system's OpenSSL 3 that SM2 needs, declared for ctypes, and found without a compiler."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint, c_void_p
from typing import Any

NAME = "openssl"

CANDIDATES = {
    "linux": ("libcrypto.so.3", "libcrypto.so.4"),
    "darwin": (
        "/opt/homebrew/opt/openssl@3/lib/libcrypto.3.dylib",
        "/usr/local/opt/openssl@3/lib/libcrypto.3.dylib",
        "libcrypto.3.dylib",
    ),
    "win32": ("libcrypto-3-x64.dll", "libcrypto-3.dll"),
}
"""Versioned names only: an unversioned libcrypto may be LibreSSL, and macOS ends a process that loads its own."""

KEY_PARAMETERS, PUBLIC_KEY, KEYPAIR = 0x84, 0x86, 0x87
"""EVP_PKEY selections."""
UNSIGNED_INTEGER, UTF8_STRING, OCTET_STRING = 2, 4, 5
"""OSSL_PARAM data types."""
UNCOMPRESSED = 4
"""POINT_CONVERSION_UNCOMPRESSED."""
_UNMODIFIED = ctypes.c_size_t(-1).value


class Param(ctypes.Structure):
    """OSSL_PARAM."""

    _fields_ = (
        ("key", c_char_p),
        ("data_type", c_uint),
        ("data", c_void_p),
        ("data_size", c_size_t),
        ("return_size", c_size_t),
    )


class Libcrypto:
    """The functions in use. ``OSError`` or ``AttributeError`` where the library or one of them is missing.

    The ones that multiply points are called through ``CDLL``, which releases the GIL. The cheap ones are called
    through ``PyDLL``, which keeps it: giving it up a dozen times a verification would cost a thread switch each.
    """

    def __init__(self) -> None:
        path = _find()
        slow, quick = ctypes.CDLL(path), ctypes.PyDLL(path)
        pointer, text, size = c_void_p, c_char_p, c_size_t
        ok = c_int

        self.version = _function(quick, "OpenSSL_version", text, c_int)
        self.error_clear = _function(quick, "ERR_clear_error", None)
        self.nid_of = _function(quick, "OBJ_sn2nid", c_int, text)

        self.group_new = _function(quick, "EC_GROUP_new_by_curve_name", pointer, c_int)
        self.point_new = _function(quick, "EC_POINT_new", pointer, pointer)
        self.point_free = _function(quick, "EC_POINT_clear_free", None, pointer)
        self.point_bytes = _function(quick, "EC_POINT_point2oct", size, pointer, pointer, c_int, text, size, pointer)
        self.point_multiply = _function(slow, "EC_POINT_mul", ok, pointer, pointer, pointer, pointer, pointer, pointer)
        self.number_new = _function(quick, "BN_bin2bn", pointer, text, c_int, pointer)
        self.number_free = _function(quick, "BN_clear_free", None, pointer)

        self.key_dup = _function(quick, "EVP_PKEY_dup", pointer, pointer)
        self.key_set_public = _function(quick, "EVP_PKEY_set1_encoded_public_key", ok, pointer, text, size)
        self.key_free = _function(quick, "EVP_PKEY_free", None, pointer)
        self.context_of_type = _function(quick, "EVP_PKEY_CTX_new_from_name", pointer, pointer, text, text)
        self.context_of_key = _function(quick, "EVP_PKEY_CTX_new", pointer, pointer, pointer)
        self.context_free = _function(quick, "EVP_PKEY_CTX_free", None, pointer)
        self.import_init = _function(quick, "EVP_PKEY_fromdata_init", ok, pointer)
        self.import_key = _function(quick, "EVP_PKEY_fromdata", ok, pointer, POINTER(pointer), c_int, POINTER(Param))
        out = (text, POINTER(size))
        self.sign_init = _function(quick, "EVP_PKEY_sign_init", ok, pointer)
        self.sign = _function(slow, "EVP_PKEY_sign", ok, pointer, *out, text, size)
        self.verify_init = _function(quick, "EVP_PKEY_verify_init", ok, pointer)
        self.verify = _function(slow, "EVP_PKEY_verify", ok, pointer, text, size, text, size)
        self.encrypt_init = _function(quick, "EVP_PKEY_encrypt_init", ok, pointer)
        self.encrypt = _function(slow, "EVP_PKEY_encrypt", ok, pointer, *out, text, size)
        self.decrypt_init = _function(quick, "EVP_PKEY_decrypt_init", ok, pointer)
        self.decrypt = _function(slow, "EVP_PKEY_decrypt", ok, pointer, *out, text, size)

    def make_key(self, point: bytes, private: bytes | None = None) -> int:
        """An EVP_PKEY of SM2 from 04‖x‖y and, where given, the 32 private bytes. ``ValueError`` if refused."""
        group = ctypes.create_string_buffer(b"SM2")
        public = ctypes.create_string_buffer(point, len(point))
        fields = [
            Param(b"group", UTF8_STRING, ctypes.cast(group, c_void_p), 3, _UNMODIFIED),
            Param(b"pub", OCTET_STRING, ctypes.cast(public, c_void_p), len(point), _UNMODIFIED),
        ]
        secret = None
        if private is not None:
            native = private if sys.byteorder == "big" else private[::-1]
            secret = ctypes.create_string_buffer(native, len(native))
            fields.append(Param(b"priv", UNSIGNED_INTEGER, ctypes.cast(secret, c_void_p), len(native), _UNMODIFIED))
        fields.append(Param(None, 0, None, 0, 0))
        key = c_void_p()
        try:
            with owned(self.context_of_type(None, b"SM2", None), self.context_free) as context:
                selection = KEYPAIR if secret is not None else PUBLIC_KEY
                params = (Param * len(fields))(*fields)
                if self.import_init(context) != 1 or self.import_key(context, key, selection, params) != 1:
                    self.error_clear()
                    raise ValueError("OpenSSL refuses the SM2 key")
        finally:
            if secret is not None:
                ctypes.memset(secret, 0, len(secret))
        if key.value is None:
            raise ValueError("OpenSSL made no SM2 key")
        return key.value


@contextmanager
def owned(handle: int | None, free: Any) -> Iterator[int]:
    """A C object, freed at the end of the block. ``MemoryError`` where none was made."""
    if not handle:
        raise MemoryError("OpenSSL made no object")
    try:
        yield handle
    finally:
        free(handle)


def _find() -> str:
    for path in CANDIDATES.get(sys.platform, ()):
        try:
            ctypes.CDLL(path)
        except OSError:
            continue
        return path
    raise OSError("no OpenSSL 3 library (libcrypto) was found")


def _function(library: ctypes.CDLL, symbol: str, result: Any, *arguments: Any) -> Any:
    # by index, not attribute: each use gets an object of its own, so declarations never leak into other users
    function = library[symbol]
    function.restype = result
    function.argtypes = arguments
    return function

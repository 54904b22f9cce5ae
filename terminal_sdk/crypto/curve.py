"""The SM2 recommended curve (GB/T 32918.5, GM/T 0003.5): its constants and the checks on points and scalars."""

from __future__ import annotations

import secrets

P = 0xFFFFFFFE_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_00000000_FFFFFFFF_FFFFFFFF
A = 0xFFFFFFFE_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_00000000_FFFFFFFF_FFFFFFFC
B = 0x28E9FA9E_9D9F5E34_4D5A9E4B_CF6509A7_F39789F5_15AB8F92_DDBCBD41_4D940E93
N = 0xFFFFFFFE_FFFFFFFF_FFFFFFFF_FFFFFFFF_7203DF6B_21C6052B_53BBF409_39D54123
G_X = 0x32C4AE2C_1F198119_5F990446_6A39C994_8FE30BBF_F2660BE1_715A4589_334C74C7
G_Y = 0xBC3736A2_F4F6779C_59BDCEE3_6B692153_D0A9877C_C62A4740_02DF32E5_2139F0A0

_Jacobian = tuple[int, int, int]


def on_curve(x: int, y: int) -> bool:
    """Whether (x, y) are field elements and satisfy y² = x³ + ax + b. The point at infinity has no such form."""
    return 0 <= x < P and 0 <= y < P and (y * y - (x * x * x + A * x + B)) % P == 0


def private_in_range(d: int) -> bool:
    """GM/T 0003: a private key lies in [1, n-2] (1 + d must be invertible)."""
    return 1 <= d <= N - 2


def base_multiply(d: int) -> tuple[int, int]:
    """d·G in affine coordinates, in Python: for a backend that cannot derive a public key.

    A ladder of fixed length over blinded projective coordinates. Python integers are not constant in time; it is
    used when a key is loaded, never per message.
    """
    blind = secrets.randbelow(P - 1) + 1
    base = (G_X * blind * blind % P, G_Y * blind**3 % P, blind)
    low: _Jacobian = base
    high = _double(base)
    scalar = d + N if (d + N).bit_length() > N.bit_length() else d + 2 * N  # the same length for every key
    for bit in range(scalar.bit_length() - 2, -1, -1):
        total = _add(low, high)
        if scalar >> bit & 1:
            low, high = total, _double(high)
        else:
            low, high = _double(low), total
    x, y, z = low
    inverse = pow(z, -1, P)
    return x * inverse * inverse % P, y * pow(inverse, 3, P) % P


def _double(point: _Jacobian) -> _Jacobian:
    x, y, z = point
    if z == 0:
        return point
    yy = y * y % P
    s = 4 * x * yy % P
    m = (3 * x * x + A * pow(z, 4, P)) % P
    doubled_x = (m * m - 2 * s) % P
    return doubled_x, (m * (s - doubled_x) - 8 * yy * yy) % P, 2 * y * z % P


def _add(left: _Jacobian, right: _Jacobian) -> _Jacobian:
    x1, y1, z1 = left
    x2, y2, z2 = right
    if z1 == 0:
        return right
    if z2 == 0:
        return left
    zz1, zz2 = z1 * z1 % P, z2 * z2 % P
    u1, u2 = x1 * zz2 % P, x2 * zz1 % P
    s1, s2 = y1 * zz2 * z2 % P, y2 * zz1 * z1 % P
    if u1 == u2:
        return _double(left) if s1 == s2 else (1, 1, 0)
    h, r = (u2 - u1) % P, (s2 - s1) % P
    hh = h * h % P
    hhh, v = h * hh % P, u1 * hh % P
    x3 = (r * r - hhh - 2 * v) % P
    return x3, (r * (v - x3) - s1 * hhh) % P, h * z1 * z2 % P

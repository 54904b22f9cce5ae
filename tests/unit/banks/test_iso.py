"""The message format: what is written is read again, and what is not a message is refused."""

import contextlib
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement.banks.iso.codec import MessageError, pack, unpack
from settlement.banks.iso.dates import month_day
from settlement.banks.iso.framing import FrameError, FrameSplitter, frame
from settlement.banks.iso.keys import KeySealError, WorkingKeys, network_mac_key, seal, unseal
from settlement.banks.iso.original import DebitStatus, Original, OriginalStatus, read_original, read_status
from settlement.banks.iso.spec import MAX_BODY_BYTES, PATTERNS, SPEC

KEY = bytes(range(16))
DEBIT = {
    "t": "0200",
    "2": "6222021234567890123",
    "3": "000000",
    "4": "000000012345",
    "7": "1123120000",
    "11": "000001",
    "37": "000000000001",
    "41": "T0000001",
    "42": "H31010100001   ",
    "53": "0000000000000001",
}
VOID = {**DEBIT, "3": "200000", "90": "0200" + "000001" + "1123120000" + "0" * 22, "61": "000000000001T0000001"}


@pytest.mark.parametrize("fields", [DEBIT, VOID])
def test_a_message_is_read_as_it_was_written(fields: dict[str, str]) -> None:
    message = unpack(pack(fields, KEY))

    assert message.fields == fields
    assert message.mac_is_valid(KEY)
    assert not message.mac_is_valid(bytes(16))


def test_the_layout_is_the_one_of_the_reference() -> None:
    """A message written down once, byte by byte, so that the codec cannot drift on both sides at the same time."""
    body = pack({"t": "0800", "7": "1123120000", "11": "000001", "37": "00000000000A", "70": "301"}, KEY)

    assert body[:-16] == b"0800" + b"8220000008000000" + b"0400000000000001" + b"1123120000" + b"000001" + (
        b"00000000000A" + b"301"
    )


@given(place=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_no_altered_byte_goes_unnoticed(place: int, flip: int) -> None:
    body = bytearray(pack(VOID, KEY))
    body[place % len(body)] ^= flip
    with contextlib.suppress(MessageError):
        assert not unpack(bytes(body)).mac_is_valid(KEY)


@given(st.binary(max_size=300))
def test_noise_is_refused_and_never_crashes(noise: bytes) -> None:
    with pytest.raises(MessageError):
        unpack(noise)


@pytest.mark.parametrize(
    ("number", "value"),
    [("4", "12345"), ("4", "00000001234A"), ("41", "t0000001"), ("39", "0"), ("55", "AA"), ("2", "6222"), ("52", "00")],
)
def test_a_malformed_or_unknown_field_is_not_written(number: str, value: str) -> None:
    with pytest.raises(MessageError, match=number):
        pack({**DEBIT, number: value}, KEY)


def test_a_message_needs_its_mac_as_the_last_field() -> None:
    body = pack(DEBIT, KEY)
    bitmap = f"{int(body[4:20], 16) & ~1:016X}".encode()

    with pytest.raises(MessageError, match="MAC"):
        unpack(body[:4] + bitmap + body[20:-16])


def test_every_field_of_the_layout_has_a_pattern() -> None:
    assert set(SPEC) - {"h", "p", "1"} == set(PATTERNS)


@given(sizes=st.lists(st.integers(1, MAX_BODY_BYTES), max_size=6), cut=st.integers(1, 40))
def test_frames_are_found_however_the_stream_is_cut(sizes: list[int], cut: int) -> None:
    bodies = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    stream = b"".join(frame(body) for body in bodies)
    splitter = FrameSplitter()
    found = [body for start in range(0, len(stream), cut) for body in splitter.feed(stream[start : start + cut])]

    assert found == bodies
    assert not splitter.partial


@pytest.mark.parametrize("head", [b"\x00\x00", b"\x04\x01", b"\xff\xff"])
def test_a_frame_without_bounds_is_refused(head: bytes) -> None:
    with pytest.raises(FrameError):
        FrameSplitter().feed(head)
    with pytest.raises(FrameError):
        frame(b"")


def test_working_keys_open_only_where_they_were_meant_to() -> None:
    keys = WorkingKeys(7, b"m" * 16, b"p" * 16)
    good = {"zone_key": KEY, "bank": "ICBC", "exchange": "1123120000000001000000000001"}
    sealed = seal(keys, **good, nonce=bytes(12))

    assert unseal(sealed, label=keys.label, **good) == keys
    assert b"m" * 16 not in bytes.fromhex(sealed)
    for wrong in ({"zone_key": bytes(16)}, {"bank": "CCB"}, {"exchange": "other"}):
        with pytest.raises(KeySealError):
            unseal(sealed, label=keys.label, **{**good, **wrong})
    with pytest.raises(KeySealError):
        unseal(sealed, label="0000000000000008", **good)
    for cut in ("", "00", sealed[:-2]):
        with pytest.raises(KeySealError):
            unseal(cut, label=keys.label, **good)


def test_each_bank_has_a_network_key_of_its_own() -> None:
    assert len({network_mac_key(KEY, "ICBC"), network_mac_key(KEY, "CCB"), KEY}) == 3


def test_an_original_is_named_whole() -> None:
    original = Original("T0000001", "1123120000", "000001", "00000000000A")
    fields = original.fields("310000")

    assert fields["90"] == "0200" + "000001" + "1123120000" + "00000310000" + "0" * 11
    assert read_original(fields) == original
    for broken in ({"90": fields["90"]}, {"61": fields["61"]}, {**fields, "90": "0400" + fields["90"][4:]}):
        with pytest.raises(MessageError):
            read_original(broken)


@pytest.mark.parametrize("authorisation", ["A1B2C3", None])
def test_a_status_is_read_as_it_was_written(authorisation: str | None) -> None:
    status = OriginalStatus("51", DebitStatus.DECLINED, authorisation, dt.date(2026, 12, 31))

    assert read_status(status.field_62()) == status
    for broken in ("", "51DA1B2C320261331", "51X      20261231"):
        with pytest.raises(MessageError):
            read_status(broken)


@pytest.mark.parametrize(
    ("text", "near", "expected"),
    [
        ("0101", dt.date(2026, 12, 31), dt.date(2027, 1, 1)),
        ("1231", dt.date(2027, 1, 1), dt.date(2026, 12, 31)),
        ("0229", dt.date(2028, 2, 28), dt.date(2028, 2, 29)),
        ("1332", dt.date(2026, 1, 1), None),
        ("0000", dt.date(2026, 1, 1), None),
    ],
)
def test_a_date_without_a_year_is_the_nearest(text: str, near: dt.date, expected: dt.date | None) -> None:
    assert month_day(text, near) == expected

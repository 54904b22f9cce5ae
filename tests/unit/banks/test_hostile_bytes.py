"""Arbitrary bytes from a bank: the splitter, the codec, the judgement and the matching never fail in any other way than
the typed one, and hold no more than they say."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from settlement.banks.codes import Verb
from settlement.banks.iso.codec import Message, MessageError, pack, unpack
from settlement.banks.iso.framing import LENGTH_BYTES, FrameError, FrameSplitter, frame
from settlement.banks.iso.spec import ANSWER_OF, MAX_BODY_BYTES, PATTERNS, SPEC
from settlement.banks.messages import Expected, judge, key_of
from settlement.banks.port import BankOutcome, MessageIdentity
from settlement.banks.restraint import Allowance
from settlement.banks.unmatched import RecentRequests
from tests.unit.banks.test_circuit import PushedClock

KEY = bytes(range(16))
TODAY = dt.date(2026, 11, 25)
ANSWERS = sorted(ANSWER_OF.values())
IDENTITY = MessageIdentity(
    bank="ICBC", terminal_id="T0000001", transmitted="1123120000", trace="000001", reference="000000000001"
)
SHAPES = {
    Verb.DEBIT: ("0210", "000000"),
    Verb.VOID: ("0210", "200000"),
    Verb.REFUND: ("0230", "200000"),
    Verb.REVERSE: ("0410", "000000"),
    Verb.INQUIRE: ("0610", "330000"),
}


def expected_of(verb: Verb) -> Expected:
    mti, code = SHAPES[verb]
    return Expected(verb, IDENTITY, "000000012345", code, (mti, "T0000001", "1123120000", "000001", "000000000001"))


def answer(verb: Verb, **changes: str) -> dict[str, str]:
    mti, code = SHAPES[verb]
    right = {"t": mti, "3": code, "4": "000000012345", "7": "1123120000", "11": "000001", "15": "1123"}
    right |= {"37": "000000000001", "39": "00", "41": "T0000001", "49": "156", "53": "0000000000000001"}
    return right | {number.strip("_"): value for number, value in changes.items()}


@given(st.lists(st.binary(max_size=400) | st.binary(min_size=1, max_size=400).map(frame), max_size=20))
def test_the_splitter_gives_bodies_or_says_garbage_and_holds_one_frame(chunks: list[bytes]) -> None:
    splitter, held = FrameSplitter(), bytearray()
    for chunk in chunks:
        held += chunk
        try:
            for body in splitter.feed(chunk):
                assert 0 < len(body) <= MAX_BODY_BYTES
                assert held[:LENGTH_BYTES] == len(body).to_bytes(LENGTH_BYTES, "big")
                assert held[LENGTH_BYTES : LENGTH_BYTES + len(body)] == body
                del held[: LENGTH_BYTES + len(body)]
        except FrameError:
            return
        # What is left is the beginning of one frame: no byte lost, none made up, never more than one frame's worth.
        assert splitter._buffer == held
        assert len(held) < LENGTH_BYTES + (int.from_bytes(held[:LENGTH_BYTES], "big") or 1)


@given(
    bodies=st.lists(st.binary(min_size=1, max_size=300), max_size=8), tail=st.sampled_from([b"\x00\x00", b"\xff\xff"])
)
def test_what_came_whole_before_the_garbage_is_not_lost(bodies: list[bytes], tail: bytes) -> None:
    splitter = FrameSplitter()
    splitter.add(b"".join(frame(body) for body in bodies) + tail)
    assert [splitter.take() for _ in bodies] == bodies
    try:
        splitter.take()
    except FrameError:
        return
    raise AssertionError("a frame out of bounds was taken for one")


def _field(number: str) -> st.SearchStrategy[str]:
    return st.from_regex(PATTERNS[number], fullmatch=True)


FIELDS = sorted(set(PATTERNS) - {"t", "64", "128"}, key=int)
MESSAGES = st.fixed_dictionaries(
    {"t": st.sampled_from([*ANSWERS, "0200", "9999"])}, optional={number: _field(number) for number in FIELDS}
)


@given(st.one_of(st.binary(max_size=MAX_BODY_BYTES), st.text(max_size=300).map(str.encode)))
def test_a_body_is_a_message_or_a_typed_refusal(body: bytes) -> None:
    try:
        message = unpack(body)
    except MessageError:
        return
    assert all(PATTERNS[number].fullmatch(value) for number, value in message.fields.items())


DIGITS_OF_BITMAPS = st.tuples(st.sampled_from([*ANSWERS, "0000", "abcd"]), st.binary(min_size=16, max_size=16))


@given(DIGITS_OF_BITMAPS, st.text("0123456789ABCDEF ", max_size=400))
def test_any_bitmap_over_any_text_is_a_message_or_a_typed_refusal(head: tuple[str, bytes], rest: str) -> None:
    mti, bits = head
    body = (mti + bits.hex().upper() + rest).encode("ascii")
    try:
        message = unpack(body)
    except MessageError:
        return
    assert set(message.fields) <= set(SPEC)


@given(verb=st.sampled_from(list(Verb)), fields=MESSAGES, right=st.booleans())
def test_any_well_formed_message_is_judged_and_proves_nothing_without_what_it_must_show(
    verb: Verb, fields: dict[str, str], *, right: bool
) -> None:
    try:
        message = unpack(pack(fields, KEY if right else bytes(16)))
    except MessageError:  # too long together
        return
    expected = expected_of(verb)
    judged = judge(expected, message, KEY, TODAY)
    shows = right and (message.get("4"), message.get("3")) == (expected.amount, expected.processing_code)
    if not shows or message.get("49") not in {"", "156"}:
        assert judged.outcome is BankOutcome.UNKNOWN
    assert judged.outcome is not BankOutcome.NOT_SENT


@given(
    verb=st.sampled_from(list(Verb)),
    changes=st.fixed_dictionaries(
        {},
        optional={
            "_15": st.from_regex(r"[0-9]{4}", fullmatch=True),
            "_38": _field("38"),
            "_39": _field("39"),
            "_62": _field("62"),
        },
    ),
)
def test_an_answer_of_its_request_is_judged_whatever_its_dates_and_states_are(
    verb: Verb, changes: dict[str, str]
) -> None:
    judged = judge(expected_of(verb), unpack(pack(answer(verb, **changes), KEY)), KEY, TODAY)
    if judged.outcome is BankOutcome.APPROVED:
        assert judged.response_code == "00"


class Bank:
    """What one bank does with four requests: answers of all kinds, in any order, again and again."""

    def __init__(self, limit: int) -> None:
        self.recent = RecentRequests(limit)
        self.handed: list[tuple[str, BankOutcome]] = []

    def sent(self, number: int) -> Expected:
        identity = MessageIdentity(
            bank="ICBC", terminal_id="T0000001", transmitted="1123120000", trace="000001", reference=f"{number:012d}"
        )
        key = ("0210", "T0000001", "1123120000", "000001", identity.reference)
        expected = Expected(Verb.DEBIT, identity, "000000012345", "000000", key)
        self.recent.sent(expected)
        return expected

    def message(self, number: int, code: str, *, forged: bool) -> Message:
        fields = answer(Verb.DEBIT, _37=f"{number:012d}", _39=code)
        return unpack(pack(fields, bytes(16) if forged else KEY))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["sent", "matched", "came", "came", "came"]),
        st.integers(0, 5),
        st.sampled_from(["00", "51", "96"]),
        st.booleans(),
    ),
    max_size=60,
)


@given(STEPS)
def test_evidence_is_handed_on_once_for_each_message_and_never_from_a_stranger(
    steps: list[tuple[str, int, str, bool]],
) -> None:
    bank, told = Bank(limit=4), {}
    for step, number, code, forged in steps:
        if step == "sent":
            if f"{number:012d}" not in {key[4] for key in bank.recent._requests}:
                told.pop(number, None)
            bank.sent(number)
        elif step == "matched":
            expected = bank.sent(number)
            judged = judge(expected, bank.message(number, code, forged=forged), KEY, TODAY)
            bank.recent.answered(expected, judged.outcome)
            if judged.outcome is not BankOutcome.UNKNOWN:
                told.setdefault(number, judged.outcome)
        else:
            known = key_of(bank.message(number, code, forged=False)) in bank.recent._requests
            kind, late = bank.recent.classify(bank.message(number, code, forged=forged), KEY, TODAY)
            if kind == "late":
                assert known
                assert not forged
                assert late is not None
                assert number not in told, "evidence twice, or against what was told"
                told[number] = late.answer.outcome
            assert (kind == "bad_mac") == forged
            assert (late is None) == (kind not in {"late", "contradiction"})
        assert len(bank.recent._requests) <= 4
        told = {each: outcome for each, outcome in told.items() if _remembered(bank, each)}


def _remembered(bank: Bank, number: int) -> bool:
    return f"{number:012d}" in {key[4] for key in bank.recent._requests}


@given(st.lists(st.floats(0, 5), max_size=60))
def test_an_allowance_is_never_more_than_burst_and_rate(waits: list[float]) -> None:
    clock = PushedClock()
    allowance, passed, began = Allowance(5, 2.0, clock), 0, clock.seconds
    for wait in waits:
        clock.seconds += wait
        passed += allowance.take()
        assert passed <= 5 + 2.0 * (clock.seconds - began) + 1e-6

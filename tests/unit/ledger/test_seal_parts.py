"""Trees, snapshots and statements of seals, without a database."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement.ledger.seals.merkle import Tree, leaf_hash, root_of
from settlement.ledger.seals.seal import BEFORE_THE_FIRST, SIGNER_ID, Seal, Statement, TableSeal, seal_of
from settlement.ledger.seals.snapshot import NOTHING, Snapshot
from settlement.ledger.seals.tables import SEALED_TABLES
from terminal_sdk.crypto import SignatureInvalid, Sm2PrivateKey, sm3


def rfc_6962(contents: list[bytes]) -> bytes:
    """The Merkle tree hash word for word as section 2.1 defines it, over SM3."""
    if not contents:
        return sm3(b"")
    if len(contents) == 1:
        return sm3(b"\x00" + contents[0])
    split = 1
    while split * 2 < len(contents):
        split *= 2
    return sm3(b"\x01" + rfc_6962(contents[:split]) + rfc_6962(contents[split:]))


@pytest.mark.parametrize("size", [*range(20), 63, 64, 65, 511, 512, 513])
def test_the_root_is_that_of_rfc_6962(size: int) -> None:
    contents = [str(number).encode() for number in range(size)]
    assert root_of(leaf_hash(each) for each in contents) == rfc_6962(contents)


def test_a_leaf_is_never_a_node() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert root_of([leaf_hash(left + right)]) != root_of([left, right])


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=40), st.data())
def test_any_other_leaf_is_another_root(contents: list[bytes], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(contents) - 1))
    other = [*contents[:place], contents[place] + b"x", *contents[place + 1 :]]
    assert root_of(map(leaf_hash, contents)) != root_of(map(leaf_hash, other))


def test_a_tree_keeps_one_hash_a_level() -> None:
    tree = Tree()
    for number in range(1_000):
        tree.add(leaf_hash(str(number).encode()))
    assert len(tree._peaks) == (1_000).bit_count()


def test_a_snapshot_sees_what_was_over() -> None:
    snapshot = Snapshot.parse("10:20:10,14")
    assert [tx for tx in range(8, 23) if snapshot.sees(tx)] == [8, 9, 11, 12, 13, 15, 16, 17, 18, 19]
    assert Snapshot.parse("7:7:") == Snapshot(7, 7, frozenset())
    assert not NOTHING.sees(0)


@pytest.mark.parametrize("text", ["", "1:2", "2:3:x", "1:2:,", "a:b:", "1:2:3,", "-1:2:", "1:2:\n"])
def test_other_texts_are_no_snapshot(text: str) -> None:
    with pytest.raises(ValueError, match="not a snapshot"):
        Snapshot.parse(text)


def statement() -> Statement:
    return Statement(
        seal_no=1,
        previous_digest=BEFORE_THE_FIRST,
        snapshot=Snapshot.parse("7:9:8"),
        snapshot_text="7:9:8",
        tables={"hold": TableSeal(1, 2, sm3(b"hold")), "transfer": TableSeal(1, 3, sm3(b"transfer"))},
        signed_at=dt.datetime(2026, 1, 2, 3, 4, 5, 600, dt.UTC),
        signer="ab" * 32,
    )


def row(**changes: object) -> dict[str, object]:
    said = statement()
    tables = {name: [each.version, each.rows, each.root.hex()] for name, each in said.tables.items()}
    return {
        "seal_no": 1,
        "previous_digest": BEFORE_THE_FIRST,
        "snapshot": "7:9:8",
        "tables": dict(reversed(tables.items())),
        "root": said.root,
        "signed_at": said.signed_at,
        "signer": said.signer,
        "signature": bytes(64),
    } | changes


def test_what_is_signed_is_pinned() -> None:
    hold, transfer, root = sm3(b"hold").hex(), sm3(b"transfer").hex(), statement().root.hex()
    assert statement().to_be_signed().decode() == (
        f'{{"seal":1,"previous":"{"00" * 32}","snapshot":"7:9:8",'
        f'"tables":{{"hold":[1,2,"{hold}"],"transfer":[1,3,"{transfer}"]}},'
        f'"root":"{root}","signed_at":"2026-01-02T03:04:05.000600+00:00","signer":"{"ab" * 32}"}}'
    )


def test_a_seal_read_back_is_the_seal_that_was_signed() -> None:
    key = Sm2PrivateKey.generate()
    signature = key.sign(statement().to_be_signed(), SIGNER_ID)
    seal = seal_of(row(signature=signature))
    assert seal == Seal(statement(), signature)
    seal.check_signature(key.public_key)


@pytest.mark.parametrize(
    "changes",
    [
        {"seal_no": 2},
        {"previous_digest": sm3(b"x")},
        {"snapshot": "7:9:"},
        {"signer": "cd" * 32},
        {"signed_at": dt.datetime(2026, 1, 2, 3, 4, 5, 601, dt.UTC)},
    ],
)
def test_every_word_is_signed(changes: dict[str, object]) -> None:
    key = Sm2PrivateKey.generate()
    seal = seal_of(row(signature=key.sign(statement().to_be_signed(), SIGNER_ID), **changes))
    with pytest.raises(SignatureInvalid):
        seal.check_signature(key.public_key)


@pytest.mark.parametrize(
    "tables",
    [
        {"hold": [1, 2, sm3(b"hold").hex()]},
        {"hold": [1, 2, sm3(b"hold").hex()], "transfer": [1, 4, sm3(b"transfer").hex()]},
        {"hold": [1, 2]},
        {"hold": [1, 0, sm3(b"hold").hex()]},
        {"hold": [1, 2, "no hex"]},
    ],
)
def test_tables_that_do_not_give_the_root_are_no_seal(tables: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        seal_of(row(tables=tables))


def test_the_tables_come_in_one_order() -> None:
    names = [table.name for table in SEALED_TABLES]
    assert names == sorted(names)


def test_a_row_is_described_by_its_key() -> None:
    transfer = next(table for table in SEALED_TABLES if table.name == "transfer")
    assert (
        transfer.describe("7/2026-01-02/ab-cd/bank")
        == "transfer person_id=7 posting_date=2026-01-02 saga_id=ab-cd part=bank"
    )

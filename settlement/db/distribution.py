"""How the tables would lie on several nodes: by which column each is distributed, and which are copied to every node.

The plan is part of the schema from the beginning: a test holds it against the catalog, so that no key and no foreign
key ever needs more than one shard.
"""

from __future__ import annotations

from typing import Final

_CATALOG: Final = ("catalog_import", "catalog_item", "catalog_item_history")
REFERENCE: Final = frozenset({"institution", "terminal", "leg_rule", "partition_plan", "sealed_table", *_CATALOG})
"""Small tables, copied to every node."""

LOCAL: Final = frozenset(
    {"schema_migration", "terminal_session", "request_nonce", "terminal_event", "seal", "seal_leaf"}
)
"""Tables of one node: sessions and nonces of terminals, and what operators did to them, on the coordinating one; each
node's seals of its own rows, because transactions are numbered by node (decision 18)."""

DISTRIBUTED: Final = {
    "person": "person_id",
    "card": "person_id",
    "card_event": "person_id",
    "insurance_accounts": "person_id",
    "account_credit": "person_id",
    "account_year": "person_id",
    "account_year_sweep": "person_id",
    "person_coverage": "person_id",
    "stay": "person_id",
    "stay_batch": "person_id",
    "stay_line": "person_id",
    "stay_settlement": "person_id",
    "stay_number": "institution_id",
    "accumulator": "person_id",
    "accumulator_move": "person_id",
    "hold": "person_id",
    "hold_end": "person_id",
    "transfer": "person_id",
    "settlement": "person_id",
    "settlement_bill": "person_id",
    "undo": "person_id",
    "undo_line": "person_id",
    "leg": "person_id",
    "leg_move": "person_id",
    "receipt": "person_id",
    "outbox_event": "person_id",
    "case_alarm": "person_id",
    "person_index": "blind_index",
    "card_index": "blind_index",
    "idempotency": "institution_id",
    "saga_directory": "institution_id",
    "line_claim": "institution_id",
}
"""Table → column. Everything of a person lies together; indexes and keys of requests lie by their own key."""

"""All parts of the bench, in the order in which they are brought up."""

from __future__ import annotations

from bench.cells import Part
from bench.parts.arrivals import ARRIVALS
from bench.parts.crypto import CRYPTO
from bench.parts.double_entry import DOUBLE_ENTRY
from bench.parts.echo import ECHO
from bench.parts.ledger import LEDGER
from bench.parts.pgbench import PGBENCH
from bench.parts.policy import POLICY
from bench.parts.settle import SETTLE
from bench.parts.till import TILL

PARTS: tuple[Part, ...] = (CRYPTO, POLICY, PGBENCH, DOUBLE_ENTRY, LEDGER, ECHO, SETTLE, TILL, ARRIVALS)

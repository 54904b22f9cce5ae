"""What the engine tells about itself: outcomes, what is not final and how old it is, what is under way.

``multiprocess_mode`` says what several workers' values come to: what every worker sees in the ledger is told once, what
each has by itself is added up.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge

SETTLEMENTS = Counter("settlement_bills_total", "Answers to settlement requests, by the state told", ["state"])
REVERSALS = Counter("settlement_reversals_total", "Answers to reversal requests, by the state told", ["state"])
REFUNDS = Counter("settlement_refunds_total", "Answers to refund requests, by the state told", ["state"])
CLAIMED = Counter("settlement_recovery_claims_total", "Legs claimed by recovery", ["leg", "state"])
TURNED_BACK = Counter("settlement_turned_back_total", "Settlements decided backward at their deadline", ["bank"])
LATE_APPROVALS = Counter("settlement_late_approvals_total", "Approvals after backward: noted, reversed", ["bank"])
REFUSED_RETURNS = Counter("settlement_refused_returns_total", "Voids and refunds a bank refused", ["bank"])
OPEN_LEGS = Gauge(
    "settlement_open_legs", "Bank legs that are not final", ["leg", "bank"], multiprocess_mode="livemostrecent"
)
OLDEST_OPEN_LEG = Gauge(
    "settlement_oldest_open_leg_seconds",
    "Age of the oldest leg that is not final",
    ["leg", "bank"],
    multiprocess_mode="livemostrecent",
)
OLD_CASES = Gauge(
    "settlement_old_cases",
    "Legs that are not final and older than in_doubt_alarm_s",
    ["leg", "bank"],
    multiprocess_mode="livemostrecent",
)
OLD_CASES_TOLD = Counter(
    "settlement_old_cases_told_total", "Cases that became older than in_doubt_alarm_s", ["leg", "bank"]
)
UNDER_WAY = Gauge("settlement_sagas_under_way", "Sagas being worked on", multiprocess_mode="livesum")
BATCH_QUEUE = Gauge(
    "settlement_ledger_queue_depth", "Calls that wait for a batch of the ledger", multiprocess_mode="livesum"
)

"""Counters and gauges of the bank links, in the process's default Prometheus registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter(
    "settlement_bank_requests_total",
    "Messages to banks by verb, outcome and the link's own word for it",
    ["bank", "verb", "outcome", "detail"],
)
LATENCY = Histogram(
    "settlement_bank_answer_seconds",
    "From the socket write to the bank's answer, answered messages only",
    ["bank", "verb"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
IN_FLIGHT = Gauge("settlement_bank_in_flight", "Messages under way", ["bank"], multiprocess_mode="livesum")
READY = Gauge(
    "settlement_bank_link_ready",
    "1 while the link (with several workers: every link) is signed on and has working keys",
    ["bank"],
    multiprocess_mode="livemin",
)
CIRCUIT = Gauge(
    "settlement_bank_circuit_state",
    "0 closed, 1 half-open (a few messages at a time), 2 open; with several workers the worst",
    ["bank"],
    multiprocess_mode="livemax",
)
UNMATCHED = Counter(
    "settlement_bank_unmatched_answers_total",
    "Answers nobody waited for: late, duplicate, contradiction, worthless, unsolicited, bad_mac",
    ["bank", "kind"],
)
REJECTED = Counter(
    "settlement_bank_rejected_answers_total",
    "Answers with the right identity that proved nothing: bad_mac, wrong_amount, wrong_currency, wrong_code, malformed",
    ["bank", "reason"],
)
CONNECTS = Counter("settlement_bank_connects_total", "Attempts to connect and sign on", ["bank", "result"])

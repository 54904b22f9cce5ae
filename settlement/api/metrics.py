"""Counters and gauges of the HTTP layer, in the process's default Prometheus registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("settlement_http_requests_total", "Answered requests", ["method", "route", "status"])
LATENCY = Histogram(
    "settlement_http_request_seconds",
    "From the request's head to its answer",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
IN_FLIGHT = Gauge(
    "settlement_http_in_flight",
    "Authenticated requests under way, in line or waiting for a bank too",
    multiprocess_mode="livesum",
)
WORKING = Gauge("settlement_http_working", "Of those, being worked on", multiprocess_mode="livesum")
WAITING = Gauge("settlement_http_waiting", "Of those, in line for the work", multiprocess_mode="livesum")
PARKED = Gauge("settlement_http_parked", "Of those, waiting for a bank", multiprocess_mode="livesum")
REFUSALS = Counter("settlement_http_refusals_total", "Refused requests by the code of the refusal", ["code"])
AUTHENTICATION_FAILURES = Counter(
    "settlement_http_authentication_failures_total",
    "Requests, sign-ins and enrolments whose sender could not be accepted, by code",
    ["code"],
)
AUTHENTICATION_CODES = frozenset(
    {
        "SESSION_MISSING",
        "SESSION_EXPIRED",
        "MAC_INVALID",
        "CLOCK_SKEW",
        "NONCE_REPLAYED",
        "TERMINAL_UNKNOWN",
        "TERMINAL_SUSPENDED",
        "INSTITUTION_SUSPENDED",
        "TERMINAL_CERTIFICATE_EXPIRED",
        "TERMINAL_CERTIFICATE_UNKNOWN",
        "CHALLENGE_INVALID",
        "SIGNATURE_INVALID",
        "ENROLMENT_REFUSED",
        "CSR_INVALID",
    }
)

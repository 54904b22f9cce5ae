"""How patient a bank link is: the limits that hold for every bank; what differs by bank stands in the directory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTuning:
    """Seconds, unless the name says otherwise. The defaults suit a bank in the same city.

    ``connect_timeout_s``: connect, sign on and fetch keys · ``backoff_*``: wait between attempts, doubled each time,
    with jitter · ``connect_wait_s``: how long one message waits for a link that is just coming up ·
    ``echo_idle_s``: silence after which an echo is sent · ``frame_timeout_s``: how long one frame may take to arrive ·
    ``frames_per_turn``: frames of one bank worked on before the event loop sees to everything else ·
    ``stall_timeout_s``: how long the peer may take no bytes ·
    ``stray_burst``, ``stray_per_s``: answers that nobody waits for and that say nothing new, so many at once and so
    many a second for good; more end the connection · ``log_pause_s``: least time between two log lines of a kind ·
    ``circuit_threshold``: failures in a row that open the circuit, and messages at a time while it is half open ·
    ``circuit_cool_down_*``: wait before a probe ·
    ``probes_before_reconnect``: failed probes after which the connection itself is given up ·
    ``key_lifetime_s``: age at which working keys are changed · ``key_change_pause_s``: least time between two changes ·
    ``recent_limit``: how many messages are remembered so that a late answer can be told from an unsolicited one.
    """

    connect_timeout_s: float = 3.0
    backoff_first_s: float = 0.1
    backoff_most_s: float = 5.0
    connect_wait_s: float = 1.0
    echo_idle_s: float = 30.0
    echo_timeout_s: float = 5.0
    frame_timeout_s: float = 5.0
    frames_per_turn: int = 16
    stall_timeout_s: float = 5.0
    stray_burst: int = 256
    stray_per_s: float = 16.0
    log_pause_s: float = 10.0
    circuit_threshold: int = 5
    circuit_cool_down_first_s: float = 1.0
    circuit_cool_down_most_s: float = 30.0
    probes_before_reconnect: int = 3
    key_lifetime_s: float = 86_400.0
    key_change_pause_s: float = 5.0
    recent_limit: int = 4_096

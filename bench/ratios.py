"""How the figures stand to each other: made repeat by repeat, so that what slowed a whole repeat down drops out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.cells import counted
from bench.report import Figure, make_figure
from bench.spread import paired

Values = Mapping[tuple[str, str], Figure]


@dataclass(frozen=True, slots=True)
class Pair:
    """Throughput of one measurement over that of another, at each number of clients."""

    name: str
    top: str
    bottom: str
    about: str


PAIRS = (
    Pair("settle_over_tpcb", "settle.account", "pgbench.tpcb", "settle (account only) ÷ pgbench TPC-B-like"),
    Pair("settle_bank_over_tpcb", "settle.bank", "pgbench.tpcb", "settle (account + bank) ÷ pgbench TPC-B-like"),
    Pair("settle_over_insert", "settle.account", "pgbench.insert", "settle (account only) ÷ pgbench durable row"),
    Pair("settle_over_ledger", "settle.account", "ledger.account", "settle (account only) ÷ ledger alone"),
    Pair("settle_bank_over_ledger", "settle.bank", "ledger.bank", "settle (account + bank) ÷ ledger alone"),
    Pair("settle_over_echo", "settle.account", "echo", "settle (account only) ÷ bare HTTP echo"),
    Pair("bank_over_account", "settle.bank", "settle.account", "settle, account + bank ÷ account only"),
    Pair(
        "ledger_over_double_entry", "ledger.account", "double_entry", "ledger (account only) ÷ plain SQL double entry"
    ),
    Pair("ledger_over_tpcb", "ledger.account", "pgbench.tpcb", "ledger (account only) ÷ pgbench TPC-B-like"),
    Pair("till_over_lean", "till.account", "settle.account", "settle through the SDK's journal ÷ lean tills"),
)


@dataclass(frozen=True, slots=True)
class Share:
    """What one operation alone (measured per second of CPU) is of the service's CPU for one settlement."""

    name: str
    measurement: str
    quantity: str
    about: str


SHARES = (
    Share("sm2_share", "sm2", "verify", "one SM2 verification"),
    Share("policy_share", "policy", "visit", "one split of a visit of 20 lines"),
)
BASELINES = {
    "settle.account": ("settle_over_tpcb", "pgbench TPC-B-like"),
    "settle.bank": ("settle_bank_over_tpcb", "pgbench TPC-B-like"),
    "ledger.account": ("ledger_over_double_entry", "plain SQL double entry"),
}
"""In the table, what the throughput of a measurement is compared with in its own line: the pair, and the other side."""


def ratios(figures: Sequence[Figure]) -> list[Figure]:
    """Every ratio whose two sides were measured."""
    values = {(each.measurement, each.quantity): each for each in figures}
    sizes = sorted({_clients(each.measurement) for each in figures} - {""}, key=int)
    found = [ratio for pair in PAIRS for ratio in _rates(pair, sizes, values)]
    return found + [ratio for share in SHARES for clients in sizes for ratio in _cpu_share(share, clients, values)]


def _rates(pair: Pair, sizes: Iterable[str], values: Values) -> Iterable[Figure]:
    for clients in sizes:
        top, bottom = values.get((f"{pair.top}/{clients}", "rate")), values.get((f"{pair.bottom}/{clients}", "rate"))
        if top is not None and bottom is not None:
            yield make_figure(
                measurement=f"{pair.name}/{clients}",
                about=f"{pair.about}, {counted(int(clients), 'client')}",
                quantity="ratio",
                title="throughput ÷ throughput",
                unit="×",
                values=paired(top.values, bottom.values),
                derived=True,
            )


def _cpu_share(share: Share, clients: str, values: Values) -> Iterable[Figure]:
    """One operation's CPU by the service's CPU for one settlement."""
    alone = values.get((share.measurement, share.quantity))
    for payment, title in (("account", "account only"), ("bank", "account + bank")):
        service = values.get((f"settle.{payment}/{clients}", "cpu_service"))
        if alone is None or service is None:
            continue
        cost_ms = [None if each is None else 1_000 / each for each in alone.values]
        yield make_figure(
            measurement=f"{share.name}.{payment}/{clients}",
            about=f"{share.about} ÷ service CPU of a settlement, {title}, {counted(int(clients), 'client')}",
            quantity="ratio",
            title="CPU ÷ CPU",
            unit="%",
            values=[None if each is None else each * 100 for each in paired(cost_ms, service.values)],
            derived=True,
        )


def _clients(measurement: str) -> str:
    """The number of clients in a measurement's name, or nothing."""
    size = measurement.partition("/")[2]
    return size if size.isdigit() else ""

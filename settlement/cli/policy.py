"""`settlement policy`: check plan files, explain who pays what of a bill, and say what another version would change."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from settlement.cli.progress import bar

if TYPE_CHECKING:
    from settlement.policy.catalog import Catalog
    from settlement.policy.compare import Comparison, PastBill
    from settlement.policy.explain import BillToExplain, Explanation

_PAYERS = {
    "current_year": "current-year account 当年账户",
    "carried_over": "carried-over account 历年账户",
    "pooled_fund": "pooled fund 统筹基金",
    "additional_fund": "additional fund 附加基金",
    "bank": "bank account 银行卡",
    "cash": "cash 现金",
}
_OWN = "patient 个人自付"
_plans = click.option(
    "--plans",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of plan files (*.toml).  [default: those that come with the service]",
)


_catalogs = click.option(
    "--catalog",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="CSV file with class, self-paid share and price ceiling of items; others count by the class of their line.",
)


@click.group()
def policy() -> None:
    """The plans of the medical insurance: data with dates, which anybody can check and try out."""


@policy.command()
@_plans
def check(plans: Path | None) -> None:
    """Read all plan files and list them. Exit status 0: all are good; 1: one is not, with its line and the mistake."""
    from settlement.policy.book import PlanBook

    with _told():
        for plan in (PlanBook.load(plans) if plans else PlanBook.load()).plans:
            until = plan.valid_to or "until further notice"
            click.echo(
                f"{plan.code} {plan.version}  {plan.valid_from} to {until}  {len(plan.groups)} groups, "
                f"{len({rule.name for rule in plan.distinct_rules()})} rules  {plan.name}"
            )


@policy.command(name="explain")
@click.argument("bill", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
@_plans
@_catalogs
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, on one line; amounts are fen.")
def explain_command(bill: Path, plans: Path | None, catalog: Path | None, as_json: bool) -> None:
    """Show who pays what of the bill in a JSON file, and by which rule: every line, every band, every fen.

    Changes nothing and needs no database. What the file may say: docs/reference/policy.md. Exit status 0: explained;
    1: a file cannot be used, or there is no plan for the bill.
    """
    from settlement.policy.book import PlanBook
    from settlement.policy.explain import explain

    with _told():
        found = explain(_bill(bill), PlanBook.load(plans) if plans else PlanBook.load(), _catalog(catalog))
    click.echo(_json(found) if as_json else "\n".join(_table(found)))


@policy.command()
@click.argument("old", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("new", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--bills",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="Bills of the past: a JSON object a line, as for explain, each with person_id.",
)
@_catalogs
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with charts there.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, on one line; amounts are fen.")
def diff(old: Path, new: Path, bills: Path, catalog: Path | None, html: Path | None, as_json: bool) -> None:
    """Say what plan file NEW would change against OLD for bills of the past, in yuan and in persons.

    Both versions judge every bill, whatever its date. What a person's earlier bills would have left on accounts and
    counters under NEW is carried to the later ones of the same insurance year. Exit status 0: compared; 1: a file
    cannot be used, or a plan says nothing of a bill.
    """
    from settlement.policy.compare import compare
    from settlement.policy.picture import page
    from settlement.policy.planfile import load_plan

    with _told():
        plans = load_plan(old), load_plan(new)
        found = compare(_past_bills(bills), *plans, _catalog(catalog))
    names = (f"{plans[0].code} {plans[0].version}", f"{plans[1].code} {plans[1].version}")
    if html is not None:
        html.write_text(page(found, names, {**_PAYERS, "remainder": _OWN}), encoding="utf-8")
    click.echo(_changes_json(found) if as_json else "\n".join(_changes(found, *names)))


def _bill(path: Path) -> BillToExplain:
    import msgspec

    from settlement.policy.explain import BillToExplain

    with click.open_file(str(path), "rb") as stream:
        data = stream.read()
    try:
        return msgspec.json.decode(data, type=BillToExplain)
    except msgspec.DecodeError as error:
        raise click.ClickException(f"{path.name}: {error}") from error


def _past_bills(path: Path) -> Iterator[PastBill]:
    import msgspec

    from settlement.policy.compare import PastBill

    decoder = msgspec.json.Decoder(PastBill)
    with path.open("rb") as stream, bar("bills", path.stat().st_size) as advance:
        for number, line in enumerate(stream, 1):
            advance(len(line))
            if line.strip():
                try:
                    yield decoder.decode(line)
                except msgspec.DecodeError as error:
                    raise click.ClickException(f"{path.name}, line {number}: {error}") from error


def _catalog(path: Path | None) -> Catalog:
    from settlement.policy.catalog import Catalog, CatalogError, read_catalog

    if path is None:
        return Catalog()
    text = path.read_text(encoding="utf-8-sig")
    with bar("catalog", text.count("\n")) as advance:
        try:
            return read_catalog(text.splitlines(keepends=True), advance)
        except CatalogError as error:
            raise click.ClickException(f"{path.name}, {error}") from error


@contextlib.contextmanager
def _told() -> Iterator[None]:
    from settlement.policy.book import NoPlan
    from settlement.policy.planfile import PlanError

    try:
        yield
    except (NoPlan, PlanError, ValueError) as error:
        raise click.ClickException(str(error.args[0])) from error


def _table(found: Explanation) -> Iterator[str]:
    from settlement.policy.explain import yuan_of

    plan, group, rule = found.judgement.plan, found.judgement.group, found.judgement.rule
    yield f"plan   {plan.code} {plan.version}, {plan.name}; insurance year {found.insurance_year}"
    yield f"group  {group.code}, {group.name}"
    yield f"rule   {rule.name}"
    yield ""
    width = max([len("rule"), *(len(part.rule) for part in found.outcome.parts)])
    yield f"{'line':>6}  {'rule':<{width}}  {'yuan':>14}  who pays"
    for part in found.outcome.parts:
        yield f"{part.line_no:>6}  {part.rule:<{width}}  {yuan_of(part.amount_fen):>14}  {_PAYERS[part.payer]}"
    yield ""
    for payer, words in _PAYERS.items():
        if payer in found.outcome.paid:
            yield f"{'':>6}  {'':<{width}}  {yuan_of(found.outcome.paid[payer]):>14}  {words}"
    yield f"{'':>6}  {'total':<{width}}  {yuan_of(found.total_fen):>14}"
    for counter, fen in found.outcome.counted.items():
        name = f"{rule.counts} (covered)" if counter == "covered" else counter
        yield f"{'':>6}  {'counted from now on: ' + name}  +{yuan_of(fen)}"


def _json(found: Explanation) -> str:
    import msgspec

    judgement = found.judgement
    return msgspec.json.encode(
        {
            "plan": judgement.plan.code,
            "version": judgement.plan.version,
            "insurance_year": found.insurance_year,
            "group": judgement.group.code,
            "rule": judgement.rule.name,
            "total_fen": found.total_fen,
            "paid_fen": found.outcome.paid,
            "counted_fen": found.outcome.counted,
            "lines": found.lines,
            "parts": found.outcome.parts,
        }
    ).decode()


def _changes(found: Comparison, old: str, new: str) -> Iterator[str]:
    from settlement.policy.compare import PAYERS
    from settlement.policy.explain import yuan_of
    from settlement.policy.picture import classes, signed_yuan

    yield f"{found.bills} bills of {found.persons} persons; {found.bills_changed} bills change"
    yield f"{len(found.people)} persons are touched: {found.pay_more} pay more of their own, {found.pay_less} less"
    yield ""
    yield f"{old:>18}  {new:>18}  {'change (yuan)':>16}  who pays"
    for payer in PAYERS:
        before, after = found.old[payer], found.new[payer]
        words = _OWN if payer == "remainder" else _PAYERS[payer]
        yield f"{yuan_of(before):>18}  {yuan_of(after):>18}  {signed_yuan(after - before):>16}  {words}"
    yield ""
    for label, number in classes(found):
        yield f"{abs(number):>8} persons  {label}"


def _changes_json(found: Comparison) -> str:
    import msgspec

    return msgspec.json.encode(
        {
            "bills": found.bills,
            "bills_changed": found.bills_changed,
            "persons": found.persons,
            "persons_touched": len(found.people),
            "persons_pay_more": found.pay_more,
            "persons_pay_less": found.pay_less,
            "old_fen": found.old,
            "new_fen": found.new,
        }
    ).decode()

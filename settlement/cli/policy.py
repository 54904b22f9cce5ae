"""`settlement policy`: check plan files, and explain who pays what of a bill by them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from settlement.policy.catalog import Catalog
    from settlement.policy.explain import BillToExplain, Explanation

_PAYERS = {
    "current_year": "current-year account 当年账户",
    "carried_over": "carried-over account 历年账户",
    "pooled_fund": "pooled fund 统筹基金",
    "additional_fund": "additional fund 附加基金",
    "bank": "bank account 银行卡",
    "cash": "cash 现金",
}
_plans = click.option(
    "--plans",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of plan files (*.toml).  [default: those that come with the service]",
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
@click.option(
    "--catalog",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="CSV file with class, self-paid share and price ceiling of items; others count by the class of their line.",
)
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


def _bill(path: Path) -> BillToExplain:
    import msgspec

    from settlement.policy.explain import BillToExplain

    with click.open_file(str(path), "rb") as stream:
        data = stream.read()
    try:
        return msgspec.json.decode(data, type=BillToExplain)
    except msgspec.DecodeError as error:
        raise click.ClickException(f"{path.name}: {error}") from error


def _catalog(path: Path | None) -> Catalog:
    from rich.console import Console
    from rich.progress import Progress

    from settlement.policy.catalog import Catalog, CatalogError, read_catalog

    if path is None:
        return Catalog()
    text = path.read_text(encoding="utf-8-sig")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("catalog", total=text.count("\n"))
        try:
            return read_catalog(text.splitlines(keepends=True), lambda rows: progress.advance(task, rows))
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

"""`settlement catalog`: drugs and services with their classes, imported from files and looked up."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from settlement.cli.operating import operate
from settlement.cli.progress import bar
from settlement.policy.catalog import CatalogError, Item, read_catalog

if TYPE_CHECKING:
    from settlement.bootstrap import Base
    from settlement.policy.catalog import Catalog
    from settlement.policy.catalog_store import Imported

_REFUSALS = (CatalogError,)
_CLASSES = {"A": "A 甲", "B": "B 乙", "C": "C 丙"}


@click.group()
def catalog() -> None:
    """The catalog of drugs and services: class, self-paid share and price ceiling of items, with their days."""


@catalog.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.pass_context
def import_command(ctx: click.Context, file: Path, dry_run: bool) -> None:
    """Take the items of a CSV FILE into the catalog: all of them, or none where one is wrong.

    An item is known by its code and first day; what the file does not name stays as it is. The same file again changes
    nothing. What the columns mean: docs/reference/policy.md. Exit status 0: done; 1: the file cannot be used.
    """
    data = file.read_bytes()
    read = _read(file.name, data)

    async def run(base: Base) -> Imported:
        from settlement.policy.catalog_store import import_catalog

        with bar("items", len(read)) as advance:
            return await import_catalog(
                base.pool,
                read.versions(),
                file_name=file.name,
                digest=hashlib.sha256(data).digest(),
                now=base.clock.now(),
                advance=advance,
                try_only=dry_run,
            )

    found = operate(ctx, run, _REFUSALS)
    same = found.items - found.added - found.changed
    told = f"{found.items} items read: {found.added} added, {found.changed} changed, {same} as before"
    if dry_run:
        told += "; nothing was written"
    elif found.import_no is not None:
        told += f"; import {found.import_no}"
    click.echo(told)


@catalog.command()
@click.argument("code")
@click.option("--on", "day", metavar="DAY", help="Only as it stands on this day, as 2019-07-01.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, on one line; amounts are fen.")
@click.pass_context
def show(ctx: click.Context, code: str, day: str | None, as_json: bool) -> None:
    """Show what the catalog says of the item CODE. Exit status 1: it does not know it (then)."""
    asked = None if day is None else _day(day)

    async def run(base: Base) -> list[Item]:
        from settlement.policy.catalog import Catalog
        from settlement.policy.catalog_store import versions_of

        versions = await versions_of(base.pool, code)
        if asked is None:
            return versions
        found = Catalog(versions).find(code, asked)
        return [] if found is None else [found]

    items = operate(ctx, run, _REFUSALS)
    if not items:
        raise click.ClickException(f"the catalog does not know {code}" + (f" on {asked}" if asked else ""))
    if as_json:
        click.echo(json.dumps([_facts(item) for item in items], ensure_ascii=False))
        return
    for item in items:
        click.echo(_line(item))


@catalog.command()
@click.pass_context
def export(ctx: click.Context) -> None:
    """Print the whole catalog as a CSV file, in the form that `import` reads."""

    async def run(base: Base) -> None:
        from settlement.policy.catalog_store import export_catalog

        async for line in export_catalog(base.pool):
            click.echo(line, nl=False)

    operate(ctx, run, _REFUSALS)


def _read(name: str, data: bytes) -> Catalog:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise click.ClickException(f"{name}, line {line}: this is not UTF-8; save the file as UTF-8") from error
    with bar("reading", text.count("\n")) as advance:
        try:
            read = read_catalog(text.splitlines(keepends=True), advance)
        except CatalogError as error:
            raise click.ClickException(f"{name}, {error}") from error
    if not len(read):
        raise click.ClickException(f"{name}: there is no item in it")
    return read


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter("a date such as 2019-07-01", param_hint="--on") from error


def _facts(item: Item) -> dict[str, object]:
    return {
        "code": item.code,
        "name": item.name,
        "class": item.category,
        "share": item.share,
        "ceiling_fen": item.ceiling_fen,
        "from": item.valid_from.isoformat(),
        "to": None if item.valid_to is None else item.valid_to.isoformat(),
    }


def _line(item: Item) -> str:
    until = f"to {item.valid_to}" if item.valid_to else "until its next version"
    share = f"  self-paid share {item.share / 100:.2f} %" if item.category == "B" else ""
    ceiling = "" if item.ceiling_fen is None else f"  at most {item.ceiling_fen // 100}.{item.ceiling_fen % 100:02d}"
    return f"{item.code}  {item.valid_from} {until}  {_CLASSES[item.category]}{share}{ceiling}  {item.name}"

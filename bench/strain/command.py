"""`python -m bench isolation` and `python -m bench overload`: measure, and hold it to the target."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
import uvloop

from bench.cells import BenchError
from bench.report import without_paths
from bench.strain.isolation import IsolationOptions, IsolationReport, isolation
from bench.strain.isolation import lines as isolation_lines
from bench.strain.overload import OverloadOptions, OverloadReport, overload
from bench.strain.overload import lines as overload_lines
from bench.strain.stage import Stage, open_stage

MISSED_EXIT = 3

Report = TypeVar("Report", IsolationReport, OverloadReport)

_quick = click.option("--quick", is_flag=True, help="Once and short: to see that it works, not to measure.")
_repeats = click.option("--repeats", type=click.IntRange(1, 100), help="How often.")
_database_url = click.option(
    "--database-url",
    envvar="SETTLEMENT_DATABASE_URL",
    help="A PostgreSQL whose role may create databases, instead of an embedded one.",
)
_data_dir = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".data"),
    show_default=True,
    help="On the disk to be measured: a folder for the time of the run is made in it.",
)


def _output(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--output",
        type=click.Path(dir_okay=False, path_type=Path),
        default=Path(f"bench-report/{name}.json"),
        show_default=True,
        help="The JSON file.",
    )


@click.command(name="isolation")
@_quick
@_repeats
@_database_url
@_data_dir
@_output("isolation")
def isolation_command(
    *, quick: bool, repeats: int | None, database_url: str | None, data_dir: Path, output: Path
) -> None:
    """One bank takes every message and answers none: p99 of the others' settlements, healthy against silent.

    Exit status 0: the target is met; 3: it is missed; 1: it could not be measured, or the books do not agree.
    """
    options = IsolationOptions(repeats=1, seconds=1.0) if quick else IsolationOptions()
    options = msgspec.structs.replace(options, repeats=repeats or options.repeats)
    report = _on_stage(lambda stage: isolation(stage, options), database_url, data_dir)
    _tell(report, isolation_lines(report), output, met=report.met)


@click.command(name="overload")
@_quick
@_repeats
@_database_url
@_data_dir
@_output("overload")
def overload_command(
    *, quick: bool, repeats: int | None, database_url: str | None, data_dir: Path, output: Path
) -> None:
    """Offer twice as many bills as can be served, then half of it: goodput, p99 of the accepted, and the recovery.

    Exit status 0: the targets are met; 3: one is missed; 1: it could not be measured, or the books do not agree.
    """
    options = OverloadOptions()
    if quick:
        options = OverloadOptions(repeats=1, calm_s=1, storm_s=2, after_s=2, capacity_s=1.0)
    options = msgspec.structs.replace(options, repeats=repeats or options.repeats)
    report = _on_stage(lambda stage: overload(stage, options), database_url, data_dir)
    _tell(report, overload_lines(report), output, met=report.met)


def _on_stage(
    measure: Callable[[Stage], Coroutine[Any, Any, Report]], database_url: str | None, data_dir: Path
) -> Report:
    from bench.server import Ground, prepared_ground
    from settlement.db.errors import DatabaseError
    from settlement.logging import configure_logging

    configure_logging("console", "error")
    # The stage's own processes must not take up this one; they are told their database.
    os.environ.pop("SETTLEMENT_DATABASE_URL", None)

    async def run(ground: Ground) -> Report:
        async with open_stage(ground, "bank", lambda line: click.echo(line, err=True)) as stage:
            return await measure(stage)

    try:
        with prepared_ground(data_dir, database_url) as ground:
            return uvloop.run(run(ground))
    except (BenchError, DatabaseError, TimeoutError) as error:
        raise click.ClickException(without_paths(str(error) or type(error).__name__)) from error


def _tell(report: IsolationReport | OverloadReport, lines: list[str], output: Path, *, met: bool) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    click.echo("\n".join(lines))
    click.echo(f"written   {output}")
    if not met:
        raise SystemExit(MISSED_EXIT)

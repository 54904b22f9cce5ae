"""The command line: `python -m bench`, and its commands."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import click
import msgspec
import uvloop

from bench.cells import BenchError
from bench.options import DEFAULT, QUICK, Options
from bench.report import Report, without_paths
from bench.strain.command import isolation_command, overload_command

FAILED_EXIT = 2
_CLIENTS_MAX = 60
"""Of an embedded server's 100 connections; the service and its tools take some, too."""
_RATE_MAX = 100_000


def _clients(_: click.Context, param: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    numbers = _numbers(param, text, int, _CLIENTS_MAX)
    return None if numbers is None else tuple(int(number) for number in numbers)


def _rates(_: click.Context, param: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    return _numbers(param, text, float, _RATE_MAX)


def _numbers(
    param: click.Parameter, text: str | None, read: Callable[[str], float], largest: float
) -> tuple[float, ...] | None:
    """Positive numbers separated by commas, in their order, each once; None where the option was not given."""
    if text is None:
        return None
    try:
        found = [read(each) for each in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of numbers such as 1,8,32", param=param) from None
    if not all(0 < each <= largest for each in found):
        raise click.BadParameter(f"each number must be above 0 and at most {largest:g}", param=param)
    return tuple(dict.fromkeys(found))


@click.group(invoke_without_command=True, context_settings={"max_content_width": 120})
@click.option("--quick", is_flag=True, help="One number of clients, short and twice: some 90 seconds.")
@click.option("--seconds", type=click.FloatRange(0.2, 600), help=f"Of each measurement (default {DEFAULT.seconds:g}).")
@click.option("--repeats", type=click.IntRange(1, 100), help=f"Of everything (default {DEFAULT.repeats}).")
@click.option(
    "--clients",
    metavar="N,N…",
    callback=_clients,
    help=f"Numbers of clients (default {','.join(map(str, DEFAULT.clients))}), at most {_CLIENTS_MAX}.",
)
@click.option(
    "--rates",
    metavar="N,N…",
    callback=_rates,
    help="Planned arrivals, settlements per second (default: half and 80 % of what the closed loop reaches).",
)
@click.option("--only", multiple=True, metavar="PART", help="Only this part; repeatable. --list names them.")
@click.option("--list", "show_parts", is_flag=True, help="Name the parts and end.")
@click.option("--seed", type=int, help=f"Of the planned arrivals (default {DEFAULT.seed}).")
@click.option("--pgbench-scale", type=click.IntRange(1, 1_000), help="pgbench's scale (default: the most clients).")
@click.option(
    "--database-url",
    envvar="SETTLEMENT_DATABASE_URL",
    help="A PostgreSQL whose role may create databases, instead of an embedded one; databases are made and dropped.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".data"),
    show_default=True,
    help="On the disk to be measured: a folder for the time of the run is made in it.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("bench-report/bench.json"),
    show_default=True,
    help="The JSON file; the table goes beside it, as .txt.",
)
@click.pass_context
def main(
    context: click.Context,
    /,
    quick: bool,
    only: tuple[str, ...],
    show_parts: bool,
    database_url: str | None,
    data_dir: Path,
    output: Path,
    **chosen: object,
) -> None:
    """Measure settlements and what limits them, side by side, on this machine; print a table and write a JSON file.

    Exit status 0: all was measured and the books agree; 2: not all, or they do not; 1: nothing could be measured.
    """
    if context.invoked_subcommand is not None:
        return
    from bench.parts import PARTS

    names = [part.name for part in PARTS]
    if show_parts:
        click.echo("\n".join(f"{part.name:<14}{part.title}" for part in PARTS))
        return
    if unknown := sorted(set(only) - set(names)):
        raise click.BadParameter(f"no part {unknown[0]}; there are: {', '.join(names)}", param_hint="--only")
    picked = {name: value for name, value in chosen.items() if value is not None}
    options = msgspec.structs.replace(QUICK if quick else DEFAULT, only=only, **picked)
    report = _measure(options, database_url, data_dir)
    _write(report, output)
    if not report.good:
        raise SystemExit(FAILED_EXIT)


@main.command()
@click.option("--seconds", type=click.FloatRange(0.05, 600), default=1.0, show_default=True, help="Per figure.")
def crypto(seconds: float) -> None:
    """Compare the libraries that could do SM2, SM3 and SM4, as far as they are installed."""
    from bench.crypto_backends import compare

    click.echo("\n".join(compare(seconds)))


main.add_command(isolation_command)
main.add_command(overload_command)


def _measure(options: Options, database_url: str | None, data_dir: Path) -> Report:
    from bench.runner import run
    from bench.server import prepared_ground
    from settlement.db.errors import DatabaseError
    from settlement.logging import configure_logging

    configure_logging("console", "error")
    # The parts' own processes must not take up this one; the stand is told its database.
    os.environ.pop("SETTLEMENT_DATABASE_URL", None)
    try:
        with prepared_ground(data_dir, database_url) as ground:
            return uvloop.run(run(options, ground, lambda line: click.echo(line, err=True)))
    except (BenchError, DatabaseError) as error:
        raise click.ClickException(without_paths(str(error))) from error


def _write(report: Report, output: Path) -> None:
    from rich.console import Console

    from bench.table import print_report

    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    with output.with_suffix(".txt").open("w", encoding="utf-8") as file:
        print_report(report, Console(file=file))
    print_report(report)
    click.echo(f"written   {output} and {output.with_suffix('.txt')}")


@main.command()
@click.option("--settlements", type=click.IntRange(10, 100_000), default=1_000, show_default=True)
@click.option("--clients", type=click.IntRange(1, _CLIENTS_MAX), default=8, show_default=True)
@click.option("--payment", type=click.Choice(["account", "bank"]), default="bank", show_default=True)
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), default=Path(".data"), show_default=True)
def profile(settlements: int, clients: int, payment: Literal["account", "bank"], data_dir: Path) -> None:
    """Show where the time of a settlement goes: statements with rows and WAL bytes, functions of the service."""
    from bench import profiling

    try:
        with profiling.watched_server(data_dir) as (url, place):
            found = uvloop.run(profiling.run(url, place, payment, clients, settlements))
    except BenchError as error:
        raise click.ClickException(str(error)) from error
    click.echo("\n".join(profiling.lines(found)))

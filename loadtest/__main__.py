"""``python -m loadtest``: put a load on the service and prove the books afterwards."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loadtest.shapes import SHAPES
from settlement.cli.failures import told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from loadtest.run import Findings, Options
    from loadtest.till_user import TillUser

NOT_PASSED_EXIT = 2
_COLUMNS = 132


@click.command(context_settings={"max_content_width": 110})
@click.option(
    "--duration",
    "duration_s",
    type=click.FloatRange(1, 86_400),
    default=120.0,
    show_default=True,
    help="How long patients come, in seconds.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 10_000),
    default=15.0,
    show_default=True,
    help="Arrivals a second, at the peak of the shape.",
)
@click.option(
    "--shape",
    type=click.Choice(SHAPES),
    default="steady",
    show_default=True,
    help="steady, or ramp: the rush at eight in the morning.",
)
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Who comes when with what; the same again for a seed."
)
@click.option(
    "--tills", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Terminals, over all kinds of till."
)
@click.option(
    "--patients",
    type=click.IntRange(1, 1_000_000),
    help="Cards besides the hot ones.  [default: one for each of their arrivals, at most 5000]",
)
@click.option(
    "--hot-share",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="Share of the arrivals that brings one of the few cards used again and again.",
)
@click.option(
    "--hold",
    "hold_s",
    type=click.FloatRange(0.1, 600),
    default=10.0,
    show_default=True,
    help="Seconds that a user may be busy with one patient before more users are needed.",
)
@click.option(
    "--drain",
    "drain_s",
    type=click.FloatRange(1, 3_600),
    default=180.0,
    show_default=True,
    help="Seconds to wait after the last arrival until nothing is open.",
)
@click.option(
    "--max-errors",
    "error_share_max",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="Share of bills, and of calls, that may be refused or fail.",
)
@click.option(
    "--database-url",
    metavar="DSN",
    help="An empty PostgreSQL database to use.  [default: SETTLEMENT_DATABASE_URL, else an embedded one]",
)
@click.option(
    "--keep",
    "data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the stand's data (database, keys, banks' books) in this folder, and go on with those that are there.",
)
@click.option(
    "--journals",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the tills' journals.  [default: in memory (tmpfs), where there is such a place]",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("loadtest-report"),
    show_default=True,
    help="Folder for the report's files.",
)
@click.option(
    "--service",
    metavar="URL",
    help="A service that runs already; then SETTLEMENT_DATA_DIR (or _DATABASE_URL) must be its own.",
)
@click.option(
    "--bank-host",
    "bank_hosts",
    multiple=True,
    metavar="URL",
    help="With --service: admin address of a bank host that it is connected to; repeatable.",
)
@click.option(
    "--users",
    "users_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A Python file with user classes of your own, instead of the built-in ones.",
)
def main(users_file: Path | None, report: Path, error_share_max: float, **chosen: object) -> None:
    """Let patients come to many tills at once, and prove afterwards that every fen is where it belongs.

    Starts a stand of its own (database, bank hosts, service), enrols tills, admits patients with virtual cards, plans
    all arrivals from the seed and signs the cards' proofs beforehand. Then Locust users, each a clerk at a till with
    the real terminal kit, serve the arrivals at their planned moments over HTTP, however slow the service is. When
    nothing is open any more, the books are verified against those of the banks and against what the tills saw.

    Exit status 0: passed; 2: books, invariants, tills or the share of errors are not as they must be; 1: could not run.
    """
    import aiohttp
    import uvloop
    from rich.console import Console

    from loadtest.report import tables, write_files
    from loadtest.stand import StandError
    from loadtest.verdict import summary
    from settlement.logging import configure_logging
    from settlement.stubs.bankhost.client import AdminError
    from terminal_sdk import TerminalError

    configure_logging("console", "error")
    options = _options(users_file, chosen)
    console = Console()
    if not console.is_terminal:
        console = Console(width=_COLUMNS)
    with told(), tempfile.TemporaryDirectory(prefix="settlement-loadtest-") as folder:
        try:
            found = uvloop.run(_run(options, Path(folder), console))
        except (StandError, TerminalError) as error:
            raise click.ClickException(str(error)) from error
        except (aiohttp.ClientError, AdminError) as error:
            raise click.ClickException(f"a bank host does not answer: {error}") from error
    figures = summary(found, options, error_share_max)
    paths = write_files(report, figures, found.crowd.html)
    tables(figures, console)
    click.echo(f"report: {', '.join(map(str, paths))}")
    if not figures["passed"]:
        raise SystemExit(NOT_PASSED_EXIT)


async def _run(options: Options, folder: Path, console: Console) -> Findings:
    from loadtest.progress import progress
    from loadtest.run import run

    with progress(console) as bars:
        return await run(options, folder, bars)


def _options(users_file: Path | None, chosen: dict[str, object]) -> Options:
    from loadtest.run import Options
    from loadtest.shapes import Profile
    from loadtest.users import USERS

    profile = Profile(str(chosen.pop("shape")), float(str(chosen.pop("duration_s"))), float(str(chosen.pop("rate"))))
    if bool(chosen["service"]) != bool(chosen["bank_hosts"]):
        raise click.UsageError("--service and --bank-host go together: without the banks' books nothing is proved")
    users = USERS if users_file is None else _own_users(users_file)
    return Options(profile=profile, users=users, **chosen)  # type: ignore[arg-type]  # click has made them what they are


def _own_users(path: Path) -> Sequence[type[TillUser]]:
    """The user classes that a file defines."""
    import runpy

    from loadtest.till_user import TillUser

    names = runpy.run_path(str(path), run_name="load_users")
    users = [each for each in names.values() if isinstance(each, type) and issubclass(each, TillUser)]
    users = [each for each in users if each.__module__ == "load_users" and not each.abstract]
    if not users:
        raise click.UsageError(f"{path} defines no class over loadtest.till_user.TillUser")
    return users


if __name__ == "__main__":
    main()

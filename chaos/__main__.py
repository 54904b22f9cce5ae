"""``python -m chaos``: load the service while its processes are killed and its links cut, and prove the books."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from settlement.cli.failures import told

if TYPE_CHECKING:
    from rich.console import Console

    from chaos.run import Findings, Options

NOT_PASSED_EXIT = 2
_COLUMNS = 132


@click.command(context_settings={"max_content_width": 110})
@click.option(
    "--seconds",
    type=click.FloatRange(5, 86_400),
    default=300.0,
    show_default=True,
    help="How long patients come and things are broken, in seconds.",
)
@click.option(
    "--rate", type=click.FloatRange(0.1, 1_000), default=6.0, show_default=True, help="Arrivals a second, in the mean."
)
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Who comes when, and what is broken when; the same again."
)
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(0.2, 3_600),
    default=2.5,
    show_default=True,
    help="Seconds between two blows, in the mean.",
)
@click.option(
    "--patience",
    "patience_s",
    type=click.FloatRange(0, 3_600),
    default=20.0,
    show_default=True,
    help="Seconds that the next blow waits at most until a bill has been settled after the last one.",
)
@click.option(
    "--tills", type=click.IntRange(1, 1_000), default=12, show_default=True, help="Terminals, over all kinds."
)
@click.option(
    "--services",
    type=click.IntRange(1, 16),
    default=2,
    show_default=True,
    help="Services side by side on one database.",
)
@click.option("--workers", type=click.IntRange(1, 16), default=2, show_default=True, help="Workers of each service.")
@click.option(
    "--recovery",
    "recovery_s",
    type=click.FloatRange(1, 3_600),
    default=300.0,
    show_default=True,
    help="Seconds to wait, when all faults have ended, until nothing is open any more.",
)
@click.option(
    "--journals",
    type=click.Path(path_type=Path, file_okay=False),
    help="Empty folder for the tills' journals.  [default: in memory (tmpfs), where there is such a place]",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Leave keys, logs and the banks' books in this empty folder.  [default: removed]",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("chaos-report"),
    show_default=True,
    help="Folder for the report's files.",
)
def main(report: Path, keep: Path | None, **chosen: object) -> None:
    """Kill and cut while patients pay, and prove that nothing is lost and nothing is there twice.

    Starts a site of its own (database, bank hosts, services, and a link between any two of them that can fail), lets
    Locust users serve patients at tills with the real terminal kit, and meanwhile, at moments drawn from the seed,
    kills services, bank hosts and PostgreSQL (kill -9), pauses services past their lease, cuts and stalls links, and
    lets banks answer wrongly. In the end the tills start again on their journals, recovery runs until nothing is open,
    and tills, ledger and banks are held against each other, bill by bill.

    Exit status 0: passed; 2: something is lost, doubled, open or differs; 1: could not run.
    """
    import aiohttp
    import uvloop
    from rich.console import Console

    from chaos.report import print_report, write_files
    from chaos.run import Options
    from chaos.verdict import summary
    from settlement.logging import configure_logging
    from settlement.stubs.bankhost.client import AdminError
    from terminal_sdk import TerminalError

    configure_logging("console", "critical")
    options = Options(**chosen)  # type: ignore[arg-type]  # click has made them what they are
    console = Console()
    if not console.is_terminal:
        console = Console(width=_COLUMNS)
    with told(), tempfile.TemporaryDirectory(prefix="settlement-chaos-") as folder:
        try:
            found = uvloop.run(_run(options, keep or Path(folder), console))
        except TerminalError as error:
            raise click.ClickException(str(error)) from error
        except (aiohttp.ClientError, AdminError) as error:
            raise click.ClickException(f"a bank host does not answer: {error}") from error
    figures = summary(found)
    paths = write_files(report, figures, found.crowd.html)
    print_report(figures, console)
    click.echo(f"report: {', '.join(map(str, paths))}")
    if not figures["passed"]:
        raise SystemExit(NOT_PASSED_EXIT)


async def _run(options: Options, folder: Path, console: Console) -> Findings:
    from chaos.run import run
    from loadtest.progress import progress

    with progress(console) as bars:
        return await run(options, folder, bars)


if __name__ == "__main__":
    main()

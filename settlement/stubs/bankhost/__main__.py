"""``python -m settlement.stubs.bankhost``: the bank host by itself, with its key from a file or the environment."""

from __future__ import annotations

import os
from typing import Any

import click

from settlement.stubs.bankhost.command import ZONE_MASTER_VARIABLE, HostOptions, given_zone_master, options, run


@click.command()
def bank_host(**given: Any) -> None:
    """Play one or several banks: their accounts, books, limits and PINs, and faults on demand.

    Prints one line of JSON when it is ready. Stops on SIGTERM.
    """
    chosen = HostOptions(**given)
    zone_master = given_zone_master(chosen, os.environ)
    if zone_master is None:
        raise click.UsageError(f"give --zone-master-file, or the key in {ZONE_MASTER_VARIABLE}")
    run(chosen, zone_master)


options(bank_host)

if __name__ == "__main__":
    bank_host()

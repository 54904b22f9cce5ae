"""``settlement bank-host``: runs the bank host stub, by default with the zone keys of this installation's service."""

from __future__ import annotations

import os
from typing import Any

import click

from settlement.stubs.bankhost.command import HostOptions, given_zone_master, options, run


@click.command("bank-host")
def bank_host(**given: Any) -> None:
    """Play one or several of the banks: accounts, books, limits and PINs of their own, and faults on demand.

    Without a zone master key of its own the host takes the one that this installation's service has, so that
    `settlement serve` and `settlement bank-host` understand each other at once. The first line printed is JSON and
    names the ports; a page for people is at the admin port. Stops on SIGTERM.
    """
    chosen = HostOptions(**given)
    zone_master = given_zone_master(chosen, os.environ)
    run(chosen, _service_zone_master() if zone_master is None else zone_master)


options(bank_host)


def _service_zone_master() -> bytes:
    from settlement.bootstrap import prepare_installation, zone_master_key
    from settlement.clock import SystemClock
    from settlement.config import ConfigError, load_settings
    from settlement.security import KeyRing, KeyRingError
    from settlement.security.authorities import AuthorityError

    try:
        settings = load_settings(os.environ)
        prepare_installation(settings, SystemClock())
        return zone_master_key(KeyRing.load(settings.master_key_path, settings.master_key))
    except (ConfigError, KeyRingError, AuthorityError) as error:
        raise click.ClickException(str(error)) from None

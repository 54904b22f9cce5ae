"""`settlement init`: a new installation's keys, authorities and database schema; safe to repeat."""

from __future__ import annotations

import asyncio
import os

import click

from settlement.cli.failures import told


@click.command()
def init() -> None:
    """Make the master key, the card and terminal authorities, and bring the database up to this release.

    What is there already is left as it is. Back up the master key apart from the database: without it no personal data
    can be read again.
    """
    from settlement.bootstrap import open_base, prepare_installation
    from settlement.clock import SystemClock
    from settlement.config import Settings, load_settings
    from settlement.db.server import database_server

    async def check(settings: Settings) -> str:
        async with open_base(settings) as base:
            return str(await base.pool.fetchval("show server_version"))

    with told():
        settings = load_settings(os.environ)
        for path in prepare_installation(settings, SystemClock()):
            click.echo(f"made      {path}")
        with database_server(settings) as running:
            version = asyncio.run(check(running))
    where = "configured server" if settings.database_url else f"embedded under {settings.data_dir}"
    click.echo(f"database  PostgreSQL {version.split()[0]}, {where}, schema up to date")

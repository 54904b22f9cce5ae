"""What operators' commands share: one thing done with the installation's registries, a refusal told in one line."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from settlement.cli.failures import told
from settlement.config import Settings, load_settings
from settlement.db.server import database_server

if TYPE_CHECKING:
    from settlement.bootstrap import Base

T = TypeVar("T")


def operate(ctx: click.Context, action: Callable[[Base], Awaitable[T]], refusals: tuple[type[Exception], ...]) -> T:
    """Do one thing with the installation; one of ``refusals`` becomes a line for the operator (exit status 1).

    The settings are those that the context carries (``obj=``), or else those of the environment.
    """
    with told():
        settings = ctx.find_object(Settings) or load_settings(os.environ)
        try:
            with database_server(settings) as running:
                return asyncio.run(_with_base(running, action))
        except refusals as error:
            raise click.ClickException(str(error)) from error


async def _with_base(settings: Settings, action: Callable[[Base], Awaitable[T]]) -> T:
    from settlement.bootstrap import open_base

    async with open_base(settings) as base:
        return await action(base)

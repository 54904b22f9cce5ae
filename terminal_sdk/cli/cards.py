"""Which reader a command uses: a virtual card from a file, or a real reader at the PC/SC daemon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
from click.core import ParameterSource

from terminal_sdk.reader import CardReader, Interface

if TYPE_CHECKING:
    from terminal_sdk.card import VirtualCard

AUTO = "auto"


def chosen_reader(card_file: Path | None, reader: str | None, interface: str, default: str | None = None) -> CardReader:
    """The reader that the options name; ``default``: the till's own. Raises ``click.UsageError``, ``ReaderError``."""
    if card_file is not None and reader is not None:
        raise click.UsageError("give --card or --reader, not both")
    if card_file is not None:
        return virtual_reader(card_file, cast("Interface", interface))
    name = reader or default
    if name is None:
        raise click.UsageError("give --card FILE for a virtual card, or --reader NAME|auto for a real reader")
    return _pcsc_reader(None if name == AUTO else name, interface)


def virtual_reader(card_file: Path, interface: Interface) -> CardReader:
    """A reader with a virtual card in it. Raises ``click.UsageError`` if the file is no card."""
    from terminal_sdk.reader import VirtualReader

    return VirtualReader(virtual_card(card_file), interface)


def virtual_card(card_file: Path) -> VirtualCard:
    """A card whose state lies beside its file. Raises ``click.UsageError`` if the file is no card."""
    from terminal_sdk.card import CardError, CardImage, JsonFileState, VirtualCard

    try:
        image = CardImage.load(card_file)
        return VirtualCard(image, JsonFileState(card_file.with_name(card_file.name + ".state")))
    except (CardError, OSError) as error:
        raise click.UsageError(str(error)) from error


def _pcsc_reader(name: str | None, interface: str) -> CardReader:
    from terminal_sdk.reader.pcsc import PcscReader

    said = click.get_current_context().get_parameter_source("interface") is not ParameterSource.DEFAULT
    return PcscReader(name, interface=cast("Interface", interface) if said else None)

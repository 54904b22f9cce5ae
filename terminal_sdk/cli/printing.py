"""A receipt on its way to paper: the screen, an ESC/POS printer, a PDF; with the counter's own lines around it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from terminal_sdk.cli.failures import PrintingFailed
from terminal_sdk.cli.home import TillSettings
from terminal_sdk.cli.speaking import say
from terminal_sdk.cli.text import centred
from terminal_sdk.receipt import to_printer, write_pdf
from terminal_sdk.receipt.grid import WIDTH, wrap
from terminal_sdk.wire import Receipt

REPRINT = "** 补打 REPRINT **"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """Where receipts go besides the screen, and what stands above and below them."""

    printer: Path | None
    pdf: Path | None
    font: Path | None
    encoding: str
    cut: bool
    header: str
    footer: str

    @classmethod
    def of(cls, settings: TillSettings, printer: Path | None, pdf: Path | None, font: Path | None) -> Paper:
        """Options first, then the till's settings, then its profile."""
        counter, own = settings.counter(), settings.printer
        return cls(
            printer=printer or (Path(own.device).expanduser() if own.device else None),
            pdf=pdf,
            font=font or (Path(own.font).expanduser() if own.font else None),
            encoding=own.encoding,
            cut=own.cut,
            header=counter.header,
            footer=counter.footer,
        )


def dressed(receipt: Receipt, paper: Paper, *, reprint: bool = False) -> Receipt:
    """The receipt with the counter's lines around the service's text, which itself stays as it is."""
    above = [*_middle(REPRINT if reprint else ""), *_middle(paper.header)]
    # What the footer says of the goods is not true of a bill that was taken back.
    below = ["", *_middle(paper.footer)] if paper.footer and receipt.kind == "settlement" else []
    text = "\n".join([*above, receipt.text.rstrip("\n"), *below]) + "\n"
    return msgspec.structs.replace(receipt, text=text)


def print_receipt(receipt: Receipt, paper: Paper, *, screen: bool) -> None:
    """Print everywhere it should go. Raises ``PrintingFailed``, ``PdfUnavailable``, ``FontMissing``."""
    if screen:
        say(receipt.text, newline=False)
    try:
        if paper.printer is not None:
            _append(paper.printer, to_printer(receipt, encoding=paper.encoding, cut=paper.cut))
        if paper.pdf is not None:
            write_pdf(receipt, paper.pdf, font=paper.font)
    except LookupError as error:  # an encoding that Python does not know
        raise PrintingFailed(f"the printer's character set is not known: {paper.encoding}") from error
    except OSError as error:
        raise PrintingFailed(f"{error.filename or 'the printer'}: {error.strerror or 'cannot be written'}") from error


def _middle(text: str) -> list[str]:
    return [centred(row, WIDTH) for row in wrap(text)] if text else []


def _append(device: Path, content: bytes) -> None:
    """Write to a device, or to the end of a file as if it were a roll of paper."""
    # A pipe that nobody reads would block for ever, after the bill was paid: opened so, it is an error at once.
    no_wait = getattr(os, "O_NONBLOCK", 0)
    handle = os.open(device, os.O_WRONLY | os.O_APPEND | os.O_CREAT | no_wait, 0o600)
    with os.fdopen(handle, "wb") as file:
        if no_wait:
            os.set_blocking(handle, True)
        file.write(content)

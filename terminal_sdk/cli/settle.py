"""``settlement-terminal settle``: the whole bill with one card, insurance first, the bank for the rest."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import click

from terminal_sdk import wire
from terminal_sdk.card import CardSession
from terminal_sdk.cli.agreement import known_agreement, new_agreement
from terminal_sdk.cli.amounts import AmountInvalid, fen_of
from terminal_sdk.cli.cards import chosen_reader
from terminal_sdk.cli.concluding import conclude
from terminal_sdk.cli.exits import Exit, exit_lines
from terminal_sdk.cli.failures import TillCommand
from terminal_sdk.cli.gathering import gathered_bill, typed_pin
from terminal_sdk.cli.home import Home
from terminal_sdk.cli.options import (
    bill_options,
    consent_option,
    home_option,
    json_option,
    print_options,
    reader_options,
    remainder_option,
    wait_option,
    yes_option,
)
from terminal_sdk.cli.printing import Paper
from terminal_sdk.cli.till import open_till
from terminal_sdk.results import Result

_DEADLINE_MAX_S = 150


def _ceiling(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else fen_of(value)
    except AmountInvalid as error:
        raise click.BadParameter(str(error)) from None


@click.command(
    cls=TillCommand,
    short_help="Settle a bill with a card.",
    epilog=exit_lines(*(code for code in Exit if code not in (Exit.ENROLMENT_REFUSED, Exit.PRINTING))),
)
@home_option
@bill_options
@reader_options
@click.option(
    "--quote/--no-quote", "quote_first", default=None, help="Show a quote first, or not; else as the profile."
)
@click.option(
    "--ceiling",
    "ceiling_fen",
    metavar="YUAN",
    callback=_ceiling,
    help="Without a quote: the most that the bank account may pay, as 50.00; 0.00 is insurance accounts only.",
)
@yes_option
@click.option("--pin-stdin", is_flag=True, help="Read the bank PIN from standard input instead of asking; needs --yes.")
@click.option("--no-pin", is_flag=True, help="Do not ask for a bank PIN; the bank may decline for it.")
@click.option(
    "--on-bank-decline",
    type=click.Choice(["release", "cash"]),
    help="If the bank declines: undo all, or keep the insurance part and take the rest in cash; else as the profile.",
)
@remainder_option
@consent_option
@click.option("--key", metavar="KEY", help="Your own idempotency key: the same key is the same attempt, however often.")
@click.option(
    "--deadline",
    "deadline_s",
    metavar="SECONDS",
    type=click.IntRange(1, _DEADLINE_MAX_S),
    default=_DEADLINE_MAX_S,
    show_default=True,
    help="When the service turns a bill back that the bank has not answered.",
)
@wait_option
@print_options
@click.option("--no-receipt", is_flag=True, help="Do not fetch and print the receipt.")
@json_option
def settle(
    home: Home,
    bill_file: IO[str] | None,
    lines: tuple[str, ...],
    visit_no: str | None,
    card_file: Path | None,
    reader: str | None,
    interface: str,
    quote_first: bool | None,
    ceiling_fen: int | None,
    agreed: bool,
    pin_stdin: bool,
    no_pin: bool,
    on_bank_decline: wire.OnBankDecline | None,
    remainder: wire.Remainder | None,
    consent: wire.Consent | None,
    key: str | None,
    deadline_s: int,
    wait_s: float,
    printer: Path | None,
    pdf: Path | None,
    font: Path | None,
    no_receipt: bool,
    as_json: bool,
) -> None:
    """Settle the whole bill 结算: the insurance accounts first, the bank account for the rest; print the receipt.

    The patient agrees to a quote, or to a ceiling for the bank account (by default the whole bill); the card signs it.
    The PIN is asked for, hidden, when the bank account may have to pay; it is never an argument. The attempt is in the
    journal before anything is sent: Ctrl-C, a crash or a power cut loses nothing, journal recover finds out.
    """
    settings = home.settings()
    counter = settings.counter()
    _check_stdin(bill_file, pin_stdin=pin_stdin, no_pin=no_pin, agreed=agreed)
    if quote_first and ceiling_fen is not None:
        raise click.UsageError("give --quote or --ceiling, not both")
    bill = gathered_bill(bill_file, lines, visit_no, counter.visit_type)
    who_pays_rest = remainder or counter.remainder
    wants_quote = counter.agreement == "quote" and ceiling_fen is None if quote_first is None else quote_first
    device = chosen_reader(card_file, reader, interface, settings.reader)
    with open_till(home) as till:
        till.name_open_attempts()
        with CardSession(device) as card:
            agreement = known_agreement(till, key, ceiling_fen) or new_agreement(
                till, card, bill, who_pays_rest, ceiling_fen, wants_quote=wants_quote, consent=consent
            )
            if not agreed and not agreement.given_before:
                click.echo("\n".join(agreement.lines(bill)), err=as_json)
                click.confirm("Does the patient agree? 是否同意支付", abort=True, err=as_json)
            pin = None if no_pin or not agreement.needs_pin(card) else typed_pin(pin_stdin)
            own_key = key or till.terminal.new_key()
            with till.minding_ctrl_c(own_key):
                result: Result = till.run(
                    till.terminal.settle(
                        card=card,
                        quote=agreement.quote,
                        bank_ceiling_fen=agreement.ceiling_fen,
                        pin=pin,
                        on_bank_decline=on_bank_decline or counter.on_bank_decline,
                        remainder=who_pays_rest,
                        consent=consent,
                        deadline_ms=deadline_s * 1000,
                        idempotency_key=own_key,
                        **bill,
                    )
                )
        with till.minding_ctrl_c(own_key):
            followed = till.follow(result, wait_s)
        paper = None if no_receipt else Paper.of(settings, printer, pdf, font)
        conclude(till, followed, paper, as_json=as_json)


def _check_stdin(bill_file: IO[str] | None, *, pin_stdin: bool, no_pin: bool, agreed: bool) -> None:
    """Standard input is one stream: the bill, the PIN or the answer to a question."""
    bill_stdin = bill_file is not None and bill_file.name == "<stdin>"
    if pin_stdin and no_pin:
        raise click.UsageError("give --pin-stdin or --no-pin, not both")
    if pin_stdin and bill_stdin:
        raise click.UsageError("the bill and the PIN cannot both come from standard input")
    if (pin_stdin or bill_stdin) and not agreed:
        raise click.UsageError("standard input is in use, so nobody can be asked: add --yes")

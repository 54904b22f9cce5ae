"""Playing the stories: a queue of patients, several tills at once, live progress, and what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from settlement.bootstrap import Base
from settlement.cli.demonstration.city import Bank
from settlement.cli.demonstration.stories import NEEDS_INQUIRY, STORIES, Scene, Story, StoryFailed, Told
from terminal_sdk import Terminal, TerminalError

ORDER_OF_BANKS = ("ICBC", "BOSC", "CCB", "PSBC", "ABC", "CMB", "BOC", "SPDB", "BOCOM", "CEB", "SRCB")


@dataclass(slots=True)
class Tally:
    """What came of the stories, in the order in which they ended. ``failures``: those that ended otherwise."""

    told: list[Told] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


async def play(
    base: Base,
    terminals: Sequence[Terminal],
    banks: Sequence[Bank],
    *,
    patients: int,
    seed: int,
    run: str,
    each: Callable[[str, Told], None],
) -> Tally:
    """Let ``patients`` come, each with the next story; every till serves one at a time.

    ``run`` sets the visit numbers of this run apart from those of earlier ones. ``each`` is told of every story that
    ended, with the till's id.
    """
    queue: asyncio.Queue[int] = asyncio.Queue()
    for number in range(patients):
        queue.put_nowait(number)
    tally = Tally()

    async def serve(terminal: Terminal) -> None:
        while True:
            try:
                number = queue.get_nowait()
            except asyncio.QueueEmpty:
                return
            story = STORIES[number % len(STORIES)]
            scene = Scene(
                base,
                terminal,
                _bank_for(story, number, banks),
                random.Random(f"{seed}:{number}"),  # noqa: S311 - who comes by chance is no secret
                f"{run}-{number:05d}",
            )
            try:
                told = await story(scene)
            except (StoryFailed, TerminalError) as error:
                tally.failures.append(f"{story.__name__}: {error}")
                continue
            tally.told.append(told)
            each(terminal.terminal_id, told)

    async with contextlib.AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(terminal) for terminal in terminals]
        await asyncio.gather(*(serve(terminal) for terminal in opened))
    return tally


def _bank_for(story: Story, number: int, banks: Sequence[Bank]) -> Bank:
    fitting = [bank for bank in banks if story not in NEEDS_INQUIRY or bank.inquiry]
    return fitting[number % len(fitting)]

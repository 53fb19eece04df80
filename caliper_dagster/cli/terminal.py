"""The terminal: progress of long work, and tables of numbers.

Here belongs how things look. Progress goes to standard error, a bar for people and a line now and
then for logs; results go to standard output.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import orjson
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from caliper_dagster.core.hours import HourRange
from caliper_dagster.core.row_accounting import Account, DeliveryCounts

_WIDE = 300


class Ticker(Protocol):
    """What long work tells of itself."""

    def advance(self, amount: int) -> None:
        """So much more of the total is done."""

    def note(self, text: str) -> None:
        """A piece of the work is done; a line for logs."""


class _Bar:
    """For people: a bar that moves, and no lines."""

    def __init__(self, progress: Progress, description: str, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=total)

    def advance(self, amount: int) -> None:
        self._progress.advance(self._task, amount)

    def note(self, text: str) -> None:
        self._progress.console.print(text, highlight=False)


class _Lines:
    """For logs: a line for each piece."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def advance(self, amount: int) -> None:
        """A line for every step would be too many."""

    def note(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


def messages() -> Console:
    """Standard error."""
    return Console(stderr=True)


def results() -> Console:
    """Standard output."""
    return Console(highlight=False)


@contextmanager
def ticking(description: str, total: int) -> Iterator[Ticker]:
    """Show the progress of something with ``total`` parts while it goes on."""
    console = messages()
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bar(progress, description, total)


def show_numbers(rows: Iterable[tuple[str, object]]) -> None:
    """A table of two columns: what, and how many."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    for what, number in rows:
        table.add_row(what, f"{number:,}" if isinstance(number, int) else str(number))
    results().print(table)


def summary(
    hours: HourRange, account: Account, deliveries: Mapping[str, DeliveryCounts]
) -> Iterator[tuple[str, object]]:
    """What became of the log rows of some hours, from the first to the last."""
    yield "Hours", len(hours)
    yield "Log rows", account.rows
    yield "Events", account.events
    if account.derived:
        yield "Derived events", account.derived
    yield from _indented(account.by_type)
    yield "Filtered", sum(account.filtered.values())
    yield from _indented(account.filtered)
    yield "Failed", sum(account.failed.values())
    yield from _indented(account.failed)
    yield from delivered(deliveries)
    yield "Unexplained rows", account.unexplained


def delivered(deliveries: Mapping[str, DeliveryCounts]) -> Iterator[tuple[str, object]]:
    """What was sent and what has arrived, for each event store."""
    for name, delivery in deliveries.items():
        if name:
            yield f"Event store {name}", ""
        for what, number in _delivered(delivery):
            yield f"  {what}" if name else what, number


def _delivered(delivery: DeliveryCounts) -> Iterator[tuple[str, object]]:
    yield "Envelopes", delivery.envelopes
    yield "Sent", delivery.sent
    yield "Acknowledged", delivery.acknowledged
    if delivery.already_acknowledged:
        yield "  of these, by earlier runs", delivery.already_acknowledged
    if delivery.changed:
        yield "  of these, changed by a newer mapping (see `resend --changed`)", delivery.changed
    if delivery.rejected:
        yield "Rejected by the event store (see `caliper-dagster rejected`)", delivery.rejected
    if delivery.filtered:
        yield "Not for this event store", sum(delivery.filtered.values())
        yield from _indented(delivery.filtered)
    if delivery.outstanding:
        yield "Not acknowledged", delivery.outstanding


def _indented(numbers: Mapping[str, int]) -> Iterator[tuple[str, object]]:
    return ((f"  {name}", number) for name, number in numbers.items())


def show_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows under their heads; columns of numbers to the right."""
    table = Table(box=None, pad_edge=False, show_header=any(heads))
    for head in heads:
        numbers = head in {"Rows", "Changed", "New", "Gone"}
        # What does not fit goes on in the next line; numbers never do.
        table.add_column(
            head, justify="right" if numbers else "left", no_wrap=numbers, overflow="fold"
        )
    for row in rows:
        table.add_row(*map(escape, row))
    # A table in a file or a pipe must not be cut to the width of a terminal.
    console = results()
    if not console.is_terminal:
        console.width = _WIDE
    console.print(table)


def show_json(value: object) -> None:
    """A value as indented JSON."""
    results().print_json(orjson.dumps(value).decode(), ensure_ascii=False)

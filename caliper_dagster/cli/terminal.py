"""Terminal output: the progress of long work, and tables of results.

Progress goes to standard error, as a bar on a terminal and as lines elsewhere; results go to
standard output. Colours are for terminals only; Rich leaves them out where ``NO_COLOR`` is set.
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
from rich.text import Text

from caliper_dagster.core.hours import HourRange
from caliper_dagster.core.row_accounting import Account, DeliveryCounts

REJECTED_AGAIN = "rejected again (see `caliper-dagster rejected`)"
_REJECTED = "Rejected by the event store (see `caliper-dagster rejected`)"
_NOT_ACKNOWLEDGED = "Not acknowledged"
_FAILED = "Failed"
_UNEXPLAINED = "Unexplained rows"

_ALARMING = {_FAILED, _REJECTED, REJECTED_AGAIN, _NOT_ACKNOWLEDGED, _UNEXPLAINED}
"""What is counted in red, unless there is none."""

_NUMERIC = {
    *("Rows", "Changed", "New", "Removed", "Share", "Events", "By a fallback", "Log row"),
    *("Number", "Size"),
}
"""Headings of columns of numbers."""

_WIDE = 300


class Ticker(Protocol):
    """Receives the progress of long work."""

    def advance(self, amount: int) -> None:
        """Add an amount to the completed work."""

    def note(self, text: str) -> None:
        """Report the end of one run in a line."""


class _Bar:
    """On a terminal: a progress bar below the lines."""

    def __init__(self, progress: Progress, description: str, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=total)

    def advance(self, amount: int) -> None:
        self._progress.advance(self._task, amount)

    def note(self, text: str) -> None:
        self._progress.console.print(text, highlight=False)


class _Lines:
    """In a log: only the lines."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def advance(self, amount: int) -> None:
        """Print nothing: a line per partition would be too much."""

    def note(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


def messages() -> Console:
    """Standard error."""
    return Console(stderr=True, emoji=False)


def results() -> Console:
    """Standard output."""
    return Console(highlight=False, emoji=False)


@contextmanager
def ticking(description: str, total: int) -> Iterator[Ticker]:
    """Show the progress of work while it runs.

    Args:
        description: what is being done.
        total: the amount of work.
    """
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
    """Print a table of two columns: what is counted, and the number."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    for what, number in rows:
        text = f"{number:,}" if isinstance(number, int) else str(number)
        style = "red" if number and what.strip() in _ALARMING else ""
        table.add_row(escape(what), escape(text), style=style)
    results().print(table)


def summary(
    hours: HourRange, account: Account, deliveries: Mapping[str, DeliveryCounts]
) -> Iterator[tuple[str, object]]:
    """The rows of the table that a backfill prints at its end."""
    yield "Hours", len(hours)
    yield "Log rows", account.rows
    yield "Events", account.events
    if account.derived:
        yield "Derived events", account.derived
    yield from _indented(account.by_type)
    yield "Filtered", sum(account.filtered.values())
    yield from _indented(account.filtered)
    yield _FAILED, sum(account.failed.values())
    yield from _indented(account.failed)
    yield from delivered(deliveries)
    yield _UNEXPLAINED, account.unexplained
    if account.waiting:
        yield "Log rows that wait for the replica", account.waiting


def delivered(deliveries: Mapping[str, DeliveryCounts]) -> Iterator[tuple[str, object]]:
    """The rows of a table of deliveries, for each event store."""
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
        yield "  of these, in earlier runs", delivery.already_acknowledged
    if delivery.changed:
        yield "  of these, changed by a newer mapping (see `resend --changed`)", delivery.changed
    if delivery.rejected:
        yield _REJECTED, delivery.rejected
    if delivery.filtered:
        yield "Not for this event store", sum(delivery.filtered.values())
        yield from _indented(delivery.filtered)
    if delivery.filtered_rows:
        yield "Log rows filtered for this event store", sum(delivery.filtered_rows.values())
        yield from _indented(delivery.filtered_rows)
    if delivery.withheld:
        yield "Withheld", sum(delivery.withheld.values())
        yield from _indented(delivery.withheld)
    if delivery.outstanding:
        yield _NOT_ACKNOWLEDGED, delivery.outstanding


def _indented(numbers: Mapping[str, int]) -> Iterator[tuple[str, object]]:
    return ((f"  {name}", number) for name, number in numbers.items())


def size(number: int) -> str:
    """A number of bytes in the unit that suits it."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= factor:
            return f"{number / factor:,.1f} {unit}"
    return f"{number} B"


def show_table(headings: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """Print a table; columns of numbers are aligned to the right.

    Args:
        headings: of the columns; a table without any has no line of headings.
        rows: the cells of each row; a `Text` has a style.
    """
    table = Table(box=None, pad_edge=False, show_header=any(headings))
    for heading in headings:
        is_number = heading in _NUMERIC
        # Long text is wrapped; numbers are not.
        table.add_column(
            heading, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold"
        )
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else escape(cell) for cell in row))
    # A table in a file or a pipe is not limited to the width of a terminal.
    console = results()
    if not console.is_terminal:
        console.width = _WIDE
    console.print(table)


def show_json(value: object) -> None:
    """Print a value as indented JSON."""
    results().print_json(orjson.dumps(value).decode(), ensure_ascii=False)

"""What `coverage`, `rejected`, `resend --rejected` and `person` print.

On a terminal that is a table with colours (``NO_COLOR`` turns them off), elsewhere text without
colours.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.text import Text

from caliper_dagster.cli import terminal
from caliper_dagster.core.row_accounting import DeliveryCounts
from caliper_dagster.core.wording import plural
from caliper_dagster.delivery.persons.erase import Erased
from caliper_dagster.delivery.persons.export import Exported
from caliper_dagster.delivery.rejected import RejectedEvent
from caliper_dagster.operations.recipes import Covered, by_component

_STYLES = {"exact": "green", "user": "green", "family": "cyan", "fallback": "yellow"}
"""How a recipe was found, in colours: what the site may want a recipe for stands out."""

_REJECTED_FIELDS = ("hour", "event_id", "log_id", "event_name", "status", "message")
_REJECTED_HEADINGS = ("Hour", "Event", "Log row", "Moodle event", "Status", "Message")


def show_coverage(covered: Sequence[Covered], top: int | None) -> None:
    """Print the Moodle events of a log with their recipes, then sums by component and by recipe.

    Args:
        covered: the events, the most frequent first.
        top: the number of events to print; all of them if omitted.
    """
    shown = covered[:top]
    terminal.show_table(
        ("Rows", "Moodle event", "Recipe", "", "Caliper 1.2"),
        [
            (
                f"{event.rows:,}",
                event.event_name,
                event.pattern,
                _resolution(event.resolution),
                f"{event.event_type} {event.action}",
            )
            for event in shown
        ],
    )
    rest = covered[len(shown) :]
    if rest:
        rows = sum(event.rows for event in rest)
        print(f"and {plural(len(rest), 'less frequent event')} ({plural(rows, 'row')})")
    total = sum(event.rows for event in covered)
    print()
    terminal.show_table(
        ("Rows", "Share", "Component", "Events", "By a fallback"),
        [
            (
                f"{component.rows:,}",
                _share(component.rows, total),
                component.name,
                f"{component.events:,}",
                _warning(component.fallback_rows),
            )
            for component in by_component(covered)
        ],
    )
    print()
    by_resolution: Counter[str] = Counter()
    for event in covered:
        by_resolution[event.resolution] += event.rows
    shares = [
        (_resolution(name), f"{rows:,} rows, {_share(rows, total)}")
        for name, rows in by_resolution.most_common()
    ]
    terminal.show_table(("", ""), [("all", f"{total:,} rows"), *shares])


def show_rejected(events: Iterable[RejectedEvent], *, named: bool) -> int:
    """Print rejected events: a table on a terminal, elsewhere tab-separated values with a header.

    Args:
        events: of one or several event stores.
        named: whether the event stores have names, which are then the first column.

    Returns:
        The number of events.
    """
    if not sys.stdout.isatty():
        return _write_lines(map(_cells, events), ("event_store",) * named + _REJECTED_FIELDS)
    rows = [_cells(event) for event in events]
    if rows:
        headings = ("Event store",) * named + _REJECTED_HEADINGS
        terminal.show_table(headings, [(*row[:-1], Text(row[-1], style="red")) for row in rows])
    return len(rows)


def _cells(event: RejectedEvent) -> list[str]:
    """The columns of an event; a tab or a line break in one would begin another one."""
    return [" ".join(value.split()) for value in event.columns()]


def _write_lines(rows: Iterable[Sequence[str]], fields: Sequence[str]) -> int:
    number = 0
    print(*fields, sep="\t")
    for row in rows:
        number += 1
        print(*row, sep="\t")
    return number


def sent_again(deliveries: Mapping[str, DeliveryCounts]) -> Iterator[tuple[str, object]]:
    """The rows of the table of `resend --rejected`: what was tried, and how that ended."""
    for name, delivery in deliveries.items():
        if name:
            yield f"Event store {name}", ""
        indent = "  " if name else ""
        yield f"{indent}Rejected before, sent again", delivery.sent + delivery.rejected
        yield f"{indent}  accepted now", delivery.sent
        yield f"{indent}  {terminal.REJECTED_AGAIN}", delivery.rejected


def _resolution(name: str) -> Text:
    return Text(name, style=_STYLES.get(name, ""))


def _warning(rows: int) -> Text:
    return Text(f"{rows:,}", style=_STYLES["fallback"] if rows else "")


def _share(rows: int, total: int) -> str:
    return f"{rows / total:.2%}"


def show_export(exported: Exported) -> None:
    """Print what an export holds.

    Args:
        exported: what was written.
    """
    terminal.show_numbers(
        [
            ("Log rows that name the person", exported.rows),
            ("Log rows of others that mention the person", exported.other_rows),
            *((f"Events in {name}", number) for name, number in exported.events.items()),
            *((f"Answers of {name}", number) for name, number in exported.sent.items()),
            ("Lifecycle rows", exported.lifecycle),
        ]
    )


def show_erasure(erased: Erased, *, plan: bool) -> None:
    """Print what was erased.

    Args:
        erased: what was erased, or would be.
        plan: whether nothing was changed.
    """
    done = "to be made" if plan else "made"
    terminal.show_numbers(
        [
            (f"Log rows {done} anonymous", erased.rows),
            ("Log rows of others that mention the person", erased.other_rows),
            (f"Events {done} without the person", erased.events - erased.removed),
            *([] if plan else [("Events that could not be made again", erased.removed)]),
            ("Stored hours", erased.hours),
            *((f"Events held by {name}", number) for name, number in erased.held.items()),
        ]
    )

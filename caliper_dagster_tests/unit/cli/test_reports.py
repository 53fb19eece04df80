"""What people read on a terminal, and programs in a pipe."""

import os
import re
import sys
from collections.abc import Callable
from threading import Thread

import pytest

from caliper_dagster.cli.reports import sent_again, show_coverage, show_rejected
from caliper_dagster.cli.terminal import show_numbers, show_table
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.row_accounting import DeliveryCounts
from caliper_dagster.delivery.rejected import RejectedEvent
from caliper_dagster.operations.recipes import Covered

COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7][0-9;]*m")
STYLE = re.compile(r"\x1b\[[0-9;]*m")
COVERED = [
    Covered(r"\mod_quiz\event\attempt_started", 50, "exact", "P07", "AssessmentEvent", "Started"),
    Covered(r"\local_x\event\thing_done", 30, "fallback", "P99", "Event", "Modified"),
    Covered(r"\core\event\course_viewed", 15, "exact", "P02", "NavigationEvent", "NavigatedTo"),
    Covered(r"\mod_quiz\event\attempt_viewed", 5, "family", "P09", "ViewEvent", "Viewed"),
]
HOUR = Hour.from_key("2026-03-02-08:00")
REFUSED = RejectedEvent(
    None, HOUR, "urn:uuid:1", 17, r"\core\event\course_viewed", 422, "no\tsuch\nactor [id]"
)
UNKNOWN = RejectedEvent(None, HOUR, "urn:uuid:2", None, None, None, None)


@pytest.fixture(autouse=True)
def _own_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")


def on_terminal(show: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> str:
    """What is written when standard output is a terminal."""
    return _written(show, monkeypatch, *os.openpty())


def in_pipe(show: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> str:
    """What is written when standard output is a pipe."""
    return _written(show, monkeypatch, *os.pipe())


def _written(
    show: Callable[[], object], monkeypatch: pytest.MonkeyPatch, read: int, write: int
) -> str:
    pieces = list[bytes]()

    def read_all() -> None:
        try:
            while piece := os.read(read, 65_536):
                pieces.append(piece)
        except OSError:
            pass  # How the end of a terminal is told.

    reader = Thread(target=read_all)
    reader.start()
    with monkeypatch.context() as patch, os.fdopen(write, "w", encoding="utf-8") as output:
        patch.setattr(sys, "stdout", output)
        show()
    reader.join()
    os.close(read)
    return b"".join(pieces).decode().replace("\r\n", "\n")


def cells(text: str) -> list[list[str]]:
    """The words of each line of a table, without styles."""
    lines = STYLE.sub("", text).splitlines()
    return [re.split(r" {2,}", line.strip()) for line in lines if line.strip()]


def test_rejected_events_are_a_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    told = on_terminal(lambda: show_rejected([REFUSED, UNKNOWN], named=False), monkeypatch)
    assert COLOUR.search(told)
    heading, *rows = cells(told)
    assert heading == ["Hour", "Event", "Log row", "Moodle event", "Status", "Message"]
    assert rows[0] == [
        str(HOUR),
        "urn:uuid:1",
        "17",
        r"\core\event\course_viewed",
        "422",
        "no such actor [id]",
    ]
    assert rows[1] == [str(HOUR), "urn:uuid:2", "-", "-", "-", "-"]


def test_rejected_events_are_tab_separated_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    told = in_pipe(lambda: show_rejected([REFUSED, UNKNOWN], named=False), monkeypatch)
    header, *rows = [line.split("\t") for line in told.splitlines()]
    assert header == ["hour", "event_id", "log_id", "event_name", "status", "message"]
    assert [len(row) for row in rows] == [6, 6]
    assert rows[0][-2:] == ["422", "no such actor [id]"]
    named = in_pipe(lambda: show_rejected([], named=True), monkeypatch)
    assert named.split("\t")[:2] == ["event_store", "hour"]


def test_nothing_rejected_is_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_terminal(lambda: show_rejected([], named=False), monkeypatch) == ""


@pytest.mark.parametrize("where", [on_terminal, in_pipe])
def test_coverage_has_sums_by_component_of_all_events(
    where: Callable[[Callable[[], object], pytest.MonkeyPatch], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = cells(where(lambda: show_coverage(COVERED, 2), monkeypatch))
    assert [row[1] for row in told[1:3]] == [event.event_name for event in COVERED[:2]]
    assert told[3] == ["and 2 less frequent events (20 rows)"]
    assert told[4:] == [
        ["Rows", "Share", "Component", "Events", "By a fallback"],
        ["55", "55.00%", "mod_quiz", "2", "0"],
        ["30", "30.00%", "local_x", "1", "30"],
        ["15", "15.00%", "core", "1", "0"],
        ["all", "100 rows"],
        ["exact", "65 rows, 65.00%"],
        ["fallback", "30 rows, 30.00%"],
        ["family", "5 rows, 5.00%"],
    ]
    everything = cells(where(lambda: show_coverage(COVERED, None), monkeypatch))
    assert [row[1] for row in everything[1:5]] == [event.event_name for event in COVERED]
    assert everything[5][0] == "Rows"


def show_all() -> None:
    show_coverage(COVERED, None)
    show_numbers(sent_again({"": DeliveryCounts(events=9, already_acknowledged=5, rejected=3)}))


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[33mfallback" in on_terminal(show_all, monkeypatch)
    assert "\x1b" not in in_pipe(show_all, monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    told = on_terminal(show_all, monkeypatch)
    assert "fallback" in told
    assert not COLOUR.search(told)


def test_what_was_tried_is_told_for_each_event_store(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = DeliveryCounts(events=9, already_acknowledged=4, sent=2, rejected=3)
    told = cells(in_pipe(lambda: show_numbers(sent_again({"far": counts})), monkeypatch))
    assert told == [
        ["Event store far"],
        ["Rejected before, sent again", "5"],
        ["accepted now", "2"],
        ["rejected again (see `caliper-dagster rejected`)", "3"],
    ]


def test_what_looks_like_markup_or_an_emoji_is_printed_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def show() -> None:
        show_table(("Id",), [("urn:id:7 [red]",)])
        show_numbers([("urn:id:7", "[/red] :x:")])

    assert cells(in_pipe(show, monkeypatch)) == [
        ["Id"],
        ["urn:id:7 [red]"],
        ["urn:id:7", "[/red] :x:"],
    ]

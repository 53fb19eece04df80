"""Which events are withheld: those that are not valid by themselves, all of them and no other."""

from __future__ import annotations

from typing import Any

from caliper_dagster.core.hour_verdict import HourVerdict, is_invalid, mark_invalid
from caliper_dagster.core.row_accounting import Account
from caliper_dagster.translator.sampling import EventFaults, sample_problems
from caliper_dagster_tests.unit.caliper.documents import VIEW
from caliper_dagster_tests.unit.translator.test_sampling import GROUP, as_sent, row, table

NO_ACTOR = {key: value for key, value in VIEW.items() if key != "actor"}


def verdict(*rows: dict[str, Any], account: Account | None = None) -> HourVerdict:
    events = table(*rows)
    report = sample_problems(events)
    faults = EventFaults()
    faults.add(mark_invalid(events, report.invalid_rows), report)
    return faults.verdict(account or Account())


def test_beside_one_that_is_found_all_of_its_kind_are_validated() -> None:
    wrong = {3, 4, 5, 61, 77}
    rows = [row(number, NO_ACTOR if number in wrong else VIEW) for number in range(100)]
    report = sample_problems(table(*rows), per_type=40)
    assert set(report.invalid_rows) == wrong
    assert (report.checked, report.invalid) == (100, len(wrong))
    assert [finding.rows for finding in report.findings] == [len(wrong)]


def test_another_kind_is_judged_by_its_sample() -> None:
    others = [row(100 + number, event_name=r"\mod_x\event\y") for number in range(40)]
    report = sample_problems(table(row(1, NO_ACTOR), *others))
    assert report.invalid_rows == (0,)
    assert report.checked == 1 + 10


def test_the_mark_is_in_the_reason_of_the_event_alone() -> None:
    rows = [row(1), row(2, NO_ACTOR), row(3, outcome="failed", reason="no user", json=None)]
    events = table(*rows)
    marked = mark_invalid(events, sample_problems(events).invalid_rows)
    assert marked["reason"].to_pylist() == [None, "invalid", "no user"]
    assert is_invalid(marked).to_pylist() == [False, True, False]
    assert marked.schema == events.schema
    assert marked.drop_columns("reason") == events.drop_columns("reason")


def test_an_id_that_is_none_is_withheld_and_one_that_occurs_again_names_the_hour() -> None:
    assert verdict(row(1), row(2, event_id="2")) == HourVerdict({"invalid": 1})
    again = row(1, event_id=row(1)["event_id"])
    assert verdict(row(1), again, row(3)).counts == {"repeated_id": 1}


def test_two_events_that_contradict_each_other_are_both_sent() -> None:
    """Each is valid; the check of the hour fails, and nobody knows which of them is wrong."""
    group = {"type": "Group", "id": GROUP}
    other = {"type": "CourseSection", "id": GROUP}
    rows = [as_sent(row(number, VIEW | {"group": it})) for number, it in ((1, group), (2, other))]
    report = sample_problems(table(*rows))
    assert report.findings
    assert report.invalid_rows == ()


def test_rows_that_are_not_explained_are_in_the_verdict() -> None:
    assert verdict(row(1), account=Account(unexplained=2)) == HourVerdict({"unexplained": 2})
    assert verdict(row(1)) == HourVerdict()

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.row_accounting import Account, DeliveryCounts
from caliper_dagster.dagster.asset_checks import acknowledged, explained, valid
from caliper_dagster.translator import Translator
from caliper_dagster.translator.example import example_row, example_table
from caliper_dagster.translator.sampling import sample_problems

KEY = dg.AssetKey("caliper_events")
FIRST = Hour.from_key("2026-01-31-22:00")


def test_hours_that_are_explained_pass() -> None:
    result = explained(KEY, {FIRST: Account(rows=3), FIRST + 1: Account()})
    assert result.passed
    assert result.metadata["hours"].value == 2


def test_hours_that_fall_short_are_named() -> None:
    result = explained(KEY, {FIRST: Account(), FIRST + 1: Account(unexplained=2)})
    assert not result.passed
    assert result.description == "unexplained rows in 1 of 2 hours: 2026-01-31T23:00Z: 2"
    assert result.metadata["unexplained rows"].value == 2
    assert result.metadata["failing hours"].value == ["2026-01-31-23:00"]


def test_only_the_first_hours_are_named() -> None:
    result = explained(KEY, dict.fromkeys(HourRange(FIRST, FIRST + 168), Account(unexplained=1)))
    assert result.metadata["unexplained rows"].value == 168
    assert len(result.metadata["failing hours"].value) == 20


def test_events_that_have_not_arrived_are_named() -> None:
    delivered = {
        FIRST: DeliveryCounts(events=2),
        FIRST + 1: DeliveryCounts(events=2, outstanding=1),
    }
    result = acknowledged(dg.AssetKey("emission_results"), delivered)
    assert not result.passed
    assert result.description == "outstanding events in 1 of 2 hours: 2026-01-31T23:00Z: 1"


def events(*names: str) -> pa.Table:
    rows = [example_row(name, id=number) for number, name in enumerate(names, start=1)]
    return Translator("https://moodle.example.org").translate(example_table(rows))


def with_json(table: pa.Table, json: pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index("json"), "json", json)


NAMES = (r"\core\event\course_viewed", r"\mod_zoom\event\thing_created")


def test_valid_events_pass() -> None:
    result = valid(KEY, [sample_problems(events(*NAMES)), sample_problems(events(NAMES[0]))])
    assert result.passed
    assert result.check_name == "every_event_valid"
    assert result.description is None
    assert result.metadata["events"].value == result.metadata["checked as a whole"].value == 3
    assert result.metadata["not valid"].value == 0


def test_events_that_are_not_valid_are_named_without_their_values() -> None:
    table = events(*NAMES)
    broken = with_json(table, pc.replace_substring(table["json"], '"NavigatedTo"', '"Wandered"'))
    result = valid(KEY, [sample_problems(table), sample_problems(broken)])
    assert not result.passed
    assert result.metadata["events"].value == 4
    assert result.metadata["not valid"].value == 1
    assert result.description.startswith(f"{NAMES[0]}: ")
    assert result.description.endswith("(1)")
    assert NAMES[1] not in result.description
    assert "moodle.example" not in result.description


def test_ids_that_occur_again_are_told() -> None:
    table = events(NAMES[0])
    result = valid(KEY, [sample_problems(pa.concat_tables([table, table]))])
    assert not result.passed
    assert "ids: the id occurs again (1)" in result.description


def test_hours_without_events_pass() -> None:
    assert valid(KEY, []).passed
    assert valid(KEY, [sample_problems(events(NAMES[0]).slice(0, 0))]).passed


def test_rejected_events_are_a_warning_that_names_the_hours() -> None:
    delivered = {FIRST: DeliveryCounts(events=2), FIRST + 1: DeliveryCounts(events=2, rejected=1)}
    result = acknowledged(dg.AssetKey("emission_results"), delivered)
    assert not result.passed
    assert result.severity is dg.AssetCheckSeverity.WARN
    assert result.description == "rejected events in 1 of 2 hours: 2026-01-31T23:00Z: 1"


def test_events_that_have_not_arrived_weigh_more_than_rejected_ones() -> None:
    delivered = {FIRST: DeliveryCounts(events=2, rejected=1, outstanding=1)}
    result = acknowledged(dg.AssetKey("emission_results"), delivered)
    assert result.severity is dg.AssetCheckSeverity.ERROR
    assert "outstanding" in str(result.description)

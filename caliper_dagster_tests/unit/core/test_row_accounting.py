import json

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from caliper_dagster.core.frames import CALIPER_EVENTS, EMISSION_RESULTS, Frame
from caliper_dagster.core.row_accounting import Account, DeliveryCounts, outstanding


def table(frame: Frame, records: list[dict[str, object]]) -> pa.Table:
    return pa.table(
        {
            field.name: pa.array(
                [record.get(field.name) for record in records],
                field.type.value_type if pa.types.is_dictionary(field.type) else field.type,
            )
            for field in frame.schema
        }
    ).cast(frame.schema)


def outcome(log_id: int, kind: str, word: str) -> dict[str, object]:
    event = kind in {"event", "derived"}
    return {
        "log_id": log_id,
        "timecreated": 0,
        "outcome": kind,
        "event_type": word if event else None,
        "reason": None if event else word,
    }


def ids(*log_ids: int) -> pa.ChunkedArray:
    return pa.chunked_array([log_ids], pa.int64())


words = st.sampled_from(["ViewEvent", "GradeEvent", "no recipe", "guest"])
primary = st.sampled_from(["event", "filtered", "failed"])


@given(st.lists(st.tuples(primary, words)), st.lists(words))
def test_every_row_is_explained_by_exactly_one_outcome(
    kinds: list[tuple[str, str]], derived: list[str]
) -> None:
    outcomes = [outcome(number, kind, word) for number, (kind, word) in enumerate(kinds)]
    outcomes += [outcome(0, "derived", word) for word in derived]

    account = Account.of(len(kinds), ids(*range(len(kinds))), table(CALIPER_EVENTS, outcomes))

    assert account.unexplained == 0
    assert account.derived == len(derived)
    assert (
        account.rows
        == len(kinds)
        == account.events + sum(account.filtered.values()) + sum(account.failed.values())
    )
    assert sum(account.by_type.values()) == account.events + account.derived
    assert Account.from_footer_stats(json.loads(json.dumps(account.as_footer_stats()))) == account


def test_rows_that_are_not_accounted_for_are_counted() -> None:
    good = [outcome(number, "event", "ViewEvent") for number in (1, 2, 3)]

    def unexplained(
        counted: int, log_ids: pa.ChunkedArray, outcomes: list[dict[str, object]]
    ) -> int:
        return Account.of(counted, log_ids, table(CALIPER_EVENTS, outcomes)).unexplained

    assert unexplained(3, ids(1, 2, 3), good) == 0
    assert unexplained(5, ids(1, 2, 3), good) == 2, "counted by the database, not read"
    assert unexplained(3, ids(1, 2, 3), good[:2]) == 1, "read, without outcome"
    assert unexplained(3, ids(1, 2, 3), [*good, good[0]]) == 1, "two outcomes"
    assert unexplained(2, ids(1, 2), good) == 1, "an outcome of a row that was not read"
    assert unexplained(3, ids(1, 2, 3), [*good[:2], outcome(4, "event", "ViewEvent")]) == 2
    derived = [*good[:2], outcome(3, "derived", "ViewEvent")]
    assert unexplained(3, ids(1, 2, 3), derived) == 1, "a derived event explains no row"


def test_accounts_add_up() -> None:
    one = Account(3, 3, 1, 0, {"A": 1}, {"n": 1}, {"exact": 1}, {"x": 2}, {}, 0)
    two = Account(2, 1, 1, 1, {"A": 1, "B": 1}, {"n": 1}, {"family": 1}, {}, {}, 1)
    assert sum([one, two], Account()) == Account(
        5, 4, 2, 1, {"A": 2, "B": 1}, {"n": 2}, {"exact": 1, "family": 1}, {"x": 2}, {}, 1
    )
    sent = DeliveryCounts(
        events=4, already_acknowledged=1, sent=2, outstanding=1, envelopes=1, bytes=9, rejected=1
    )
    assert sum([sent, sent], DeliveryCounts()) == DeliveryCounts(
        events=8, already_acknowledged=2, sent=4, outstanding=2, envelopes=2, bytes=18, rejected=2
    )
    assert sent.acknowledged == 2
    assert DeliveryCounts.from_footer_stats(json.loads(json.dumps(sent.as_footer_stats()))) == sent


def test_events_are_outstanding_until_they_are_acknowledged_or_rejected() -> None:
    results = table(
        EMISSION_RESULTS,
        [
            {"outcome": "acknowledged", "event_ids": ["a", "b"]},
            {"outcome": "acknowledged", "event_ids": ["a"]},
            {"outcome": "rejected", "event_ids": ["c"]},
        ],
    )
    events = pa.chunked_array([["a", "b", None, "c", "d"]])
    assert outstanding(events, results) == 1
    assert outstanding(events, EMISSION_RESULTS.empty()) == 4
    assert outstanding(pa.chunked_array([[None]], pa.string()), EMISSION_RESULTS.empty()) == 0

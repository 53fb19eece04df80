import uuid

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caliper_dagster.core.errors import StorageError
from caliper_dagster.emitter.ledger.fingerprints import (
    event_ids,
    fingerprints,
    last_positions,
    positions_of_ids,
    text_slices,
    unpacked,
)

ids = st.lists(st.uuids().map(lambda found: f"urn:uuid:{found}"), unique=True, max_size=30)


def column(values):
    return pa.array(values, pa.large_string())


def texts(values):
    return text_slices(column(values))


@given(ids)
def test_ids_come_back_as_they_were(given_ids):
    found = fingerprints(column(given_ids), texts(["{}"] * len(given_ids)))
    assert event_ids(unpacked(found.tobytes())).to_pylist() == given_ids
    assert found.nbytes == 24 * len(given_ids)


def test_ids_that_end_in_zero_bytes_are_told_apart():
    given_ids = [f"urn:uuid:{uuid.UUID(bytes=b'a' * n + bytes(16 - n))}" for n in range(17)]
    found = fingerprints(column(given_ids), texts(["{}"] * 17))
    assert event_ids(found).to_pylist() == given_ids
    _, known = positions_of_ids(np.sort(found[3:5]), found)
    assert known.sum() == 2


def test_a_slice_of_a_column_has_the_fingerprints_of_its_own_rows():
    all_ids = column([f"urn:uuid:{uuid.uuid4()}" for _ in range(5)])
    events = column(['"ä"', '"bb"', '"c"', '""', '"e"'])
    whole = fingerprints(all_ids, text_slices(events))
    part = fingerprints(all_ids.slice(2, 2), text_slices(events.slice(2, 2)))
    assert (part == whole[2:4]).all()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=30))
def test_the_content_acknowledged_last_is_the_one_that_counts(history):
    def found(pairs):
        return fingerprints(
            column([f"urn:uuid:{uuid.UUID(int=number)}" for number, _ in pairs]),
            texts([str(content) for _, content in pairs]),
        )

    each = [found([pair]) for pair in history]
    whole = np.concatenate([*each, found([])])
    assert whole[last_positions(whole)].tolist() == found(sorted(dict(history).items())).tolist()


@pytest.mark.parametrize(
    "wrong",
    [
        "https://example.org/event/1",
        "urn:uuid:00000000-0000-0000-0000-00000000000g",
        "urn:uuid:00000000-0000-0000-0000-00000000000",
        "urn:uuid:00000000-0000-0000-0000-0000000000é",
        "urn:uuid:0000000000000000-0000-0000-0000000000",
        "urn:uuid:00000000-0000-0000-0000-          00",
        None,
    ],
)
def test_an_id_that_is_no_urn_uuid_is_refused(wrong):
    with pytest.raises(StorageError, match="caliper_events"):
        fingerprints(column([f"urn:uuid:{uuid.uuid4()}", wrong]), texts(["{}", "{}"]))


def test_an_event_without_json_is_refused():
    with pytest.raises(StorageError, match="without id or JSON"):
        fingerprints(column([f"urn:uuid:{uuid.uuid4()}"]), texts([None]))


def test_two_events_with_one_id_are_refused():
    same = f"urn:uuid:{uuid.uuid4()}"
    with pytest.raises(StorageError, match="same id"):
        fingerprints(column([same, same]), texts(["1", "2"]))

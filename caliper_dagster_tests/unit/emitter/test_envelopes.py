import json
import re
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caliper_dagster.core.errors import StorageError
from caliper_dagster.emitter.envelopes import (
    batches,
    caliper_time,
    context_iri,
    envelope,
    envelope_overhead,
)

NOON = datetime(2026, 1, 31, 12, 0, 0, 7999, tzinfo=UTC)
V1P2 = "http://purl.imsglobal.org/ctx/caliper/v1p2"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def test_an_envelope_has_exactly_the_four_properties():
    body = json.loads(envelope("urn:sensor", NOON, V1P2, [b'{"id":1}', b'{"id":2}']))
    assert body == {
        "sensor": "urn:sensor",
        "sendTime": "2026-01-31T12:00:00.007Z",
        "dataVersion": V1P2,
        "data": [{"id": 1}, {"id": 2}],
    }


def test_a_full_second_has_three_digits_too():
    assert caliper_time(datetime(2026, 1, 31, tzinfo=UTC)) == "2026-01-31T00:00:00.000Z"


def test_numbers_and_order_of_keys_are_left_as_they_are():
    body = envelope("urn:s", NOON, V1P2, [b'{"z":10.0,"a":1e3}'])
    assert b'"data":[{"z":10.0,"a":1e3}]' in body


def test_an_unknown_version_is_refused():
    with pytest.raises(StorageError, match="v9"):
        context_iri("v9")


@given(st.lists(texts, min_size=1, max_size=60), st.integers(1, 20), st.integers(1, 800), texts)
def test_every_event_is_in_one_batch_in_order_and_within_the_limits(
    names, batch_size, batch_bytes, sensor
):
    events = [json.dumps({"name": name}, ensure_ascii=False).encode() for name in names]
    sizes = np.array([len(event) for event in events])
    capacity = batch_bytes - envelope_overhead(sensor, V1P2)
    bodies = [
        envelope(sensor, NOON, V1P2, events[start:end])
        for start, end in batches(sizes, batch_size, lambda: capacity)
    ]
    received = [json.loads(body) for body in bodies]
    assert [event["name"] for body in received for event in body["data"]] == names
    for body, parsed in zip(bodies, received, strict=True):
        assert 1 <= len(parsed["data"]) <= batch_size
        assert len(body) <= batch_bytes or len(parsed["data"]) == 1
        assert parsed["sensor"] == sensor
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", parsed["sendTime"])


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 20), st.integers(1, 99)
)
def test_no_batch_could_have_taken_the_next_event(sizes, batch_size, capacity):
    cut = list(batches(np.array(sizes), batch_size, lambda: capacity))
    for start, end in cut[:-1]:
        joined_with_next = sum(sizes[start : end + 1]) + end - start
        assert end - start == batch_size or joined_with_next > capacity

import gzip
import json

import pytest
import requests

from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.embedded.arrivals import arrivals
from caliper_dagster.embedded.faults import Faults
from caliper_dagster_tests.harness.local_event_store import local_event_store
from caliper_dagster_tests.unit.embedded.test_event_store import KEY, envelope, event, post


def test_faults_are_read_from_a_line():
    found = Faults.parse("429=0.1, drop-late=0.2,400=0.01,refuse=Grade*,413=5000,retry-after=2,"
                         "seconds=0.5,until=9,seed=3")  # fmt: skip
    assert found == Faults(
        shares={"429": 0.1, "drop-late": 0.2}, refused={400: 0.01}, refuse="Grade*", max_bytes=5000,
        retry_after=2, seconds=0.5, until=9, seed=3,
    )  # fmt: skip
    assert Faults.parse("") == Faults()


@pytest.mark.parametrize("text", ["418=0.1", "429=2", "429", "until=soon", "refuse=", "nonsense"])
def test_a_fault_that_means_nothing_is_one_sentence(text):
    with pytest.raises(ConfigurationError, match="--hostile"):
        Faults.parse(text)


def test_chances_follow_from_the_seed_and_end():
    def drawn(seed):
        faults = Faults.parse(f"500=0.3,drop=0.3,until=50,seed={seed}")
        return [faults.next_fault() for _ in range(100)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert set(drawn(1)[:50]) == {"500", "drop", None}
    assert set(drawn(1)[50:]) == {None}


@pytest.mark.parametrize(
    ("hostile", "status"),
    [("401=1", 401), ("429=1,retry-after=7", 429), ("500=1", 500), ("413=100", 413),
     ("refuse=View*", 400), ("422=1", 422)],
)  # fmt: skip
def test_it_answers_as_it_is_told_and_keeps_nothing(tmp_path, hostile, status):
    with local_event_store(tmp_path / "store.sqlite", KEY, hostile=hostile) as url:
        answer = post(url, envelope())
        assert arrivals(tmp_path / "store.sqlite").events == 0
    assert answer.status_code == status
    assert answer.headers.get("Retry-After") == ("7" if status == 429 else None)


@pytest.mark.parametrize(("hostile", "kept"), [("drop=1,until=1", 0), ("drop-late=1,until=1", 1)])
def test_a_connection_is_cut_before_or_after_storing(tmp_path, hostile, kept):
    with local_event_store(tmp_path / "store.sqlite", KEY, hostile=hostile) as url:
        with pytest.raises(requests.ConnectionError):
            post(url, envelope())
        assert arrivals(tmp_path / "store.sqlite").events == kept
        assert post(url, envelope(event(2))).status_code == 200


def test_it_loses_what_it_says_it_has(tmp_path):
    with local_event_store(tmp_path / "store.sqlite", KEY, hostile="lose=1,until=1") as url:
        assert post(url, envelope()).status_code == 200
        assert arrivals(tmp_path / "store.sqlite").events == 0


def test_a_restart_cuts_connections_and_keeps_what_was_stored(tmp_path):
    hostile = "restart=0.5,seed=1,until=12"
    unheard = 0
    with local_event_store(tmp_path / "store.sqlite", KEY, hostile=hostile) as url:
        for number in range(14):
            try:
                assert post(url, envelope(event(number))).status_code == 200
            except requests.ConnectionError:
                unheard += 1
        assert 0 < unheard < 14
        assert arrivals(tmp_path / "store.sqlite").events == 14 - unheard


def test_compressed_bodies_are_taken(tmp_path):
    with local_event_store(tmp_path / "store.sqlite", KEY, hostile="413=50000") as url:
        packed = {"Content-Encoding": "gzip"}
        body = gzip.compress(json.dumps(envelope()).encode())
        assert post(url, body, **packed).status_code == 200
        assert post(url, body[:-9], **packed).status_code == 400
        assert post(url, b"plain", **packed).status_code == 400
        bomb = gzip.compress(b" " * 10_000_000)
        assert post(url, bomb, **packed).status_code == 413
        assert arrivals(tmp_path / "store.sqlite").events == 1

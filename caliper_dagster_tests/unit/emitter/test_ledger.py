import subprocess
import sys
import traceback
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from caliper_dagster.core.errors import ConfigurationError, StorageError
from caliper_dagster.core.frames import EMISSION_RESULTS
from caliper_dagster.core.hours import HourRange
from caliper_dagster.core.revisions import MAPPING_REVISION
from caliper_dagster.emitter import Ledger
from caliper_dagster.emitter.ledger import BatchRecord, results_table
from caliper_dagster.emitter.ledger.fingerprints import FINGERPRINT, fingerprints
from caliper_dagster_tests.harness.hostile_store import HOUR, SITE
from caliper_dagster_tests.harness.paths import ROOT

STORE = "https://store.example.org/caliper"


def batch(
    hour=HOUR,
    *,
    events=3,
    outcome="acknowledged",
    content="{}",
    ids=None,
    revision=MAPPING_REVISION,
):
    ids = ids or [f"urn:uuid:{uuid.uuid4()}" for _ in range(events)]
    return BatchRecord(
        hour=hour,
        batch_id=f"urn:uuid:{uuid.uuid4()}",
        outcome=outcome,
        bytes=1234,
        attempts=1,
        http_status=200,
        sent_at=1_769_860_800_123,
        answered_at=1_769_860_800_456,
        error=None,
        mapping_revision=revision,
        fingerprints=fingerprints(
            pa.array(ids, pa.large_string()), [memoryview(content.encode())] * len(ids)
        ),
    )


def same(one, other):
    return one.batch_id == other.batch_id and (one.fingerprints == other.fingerprints).all()


def test_what_was_recorded_is_there_after_reopening(ledger_url):
    first, second = batch(), batch(HOUR + 1, events=0)
    with Ledger(ledger_url) as ledger:
        ledger.record(STORE, first, site=SITE)
        ledger.record(STORE, second, site=SITE)
    with Ledger(ledger_url) as ledger:
        found = ledger.batches(STORE, [HOUR, HOUR + 1, HOUR + 2], site=SITE)
    assert list(found) == [HOUR, HOUR + 1, HOUR + 2]
    assert same(found[HOUR][0], first)
    assert found[HOUR][0].sent_at == 1_769_860_800_123
    assert len(found[HOUR + 1][0].fingerprints) == 0
    assert found[HOUR + 2] == []


def test_sites_event_stores_and_hours_are_kept_apart(ledger_url):
    mine = batch()
    with Ledger(ledger_url) as ledger:
        ledger.record(STORE, mine, site=SITE)
        ledger.record(STORE, batch(), site="https://other.example.org")
        ledger.record("https://other.example.org/caliper", batch(), site=SITE)
        ledger.record(STORE, batch(HOUR + 5), site=SITE)
        for hours in ([HOUR], [HOUR, HOUR + 2], []):
            found = ledger.batches(STORE, hours, site=SITE)
            assert [b.batch_id for bs in found.values() for b in bs] == [mine.batch_id][
                : len(hours)
            ]


def test_acknowledged_is_the_last_acknowledged_content_only(ledger_url):
    ids = [f"urn:uuid:{uuid.UUID(int=n)}" for n in range(3)]
    newer = batch(ids=ids[1:], content="new")
    with Ledger(ledger_url) as ledger:
        ledger.record(STORE, batch(ids=ids, content="old"), site=SITE)
        ledger.record(STORE, newer, site=SITE)
        ledger.record(STORE, batch(ids=ids, content="bad", outcome="rejected"), site=SITE)
        found = ledger.acknowledged(STORE, [HOUR, HOUR + 1], site=SITE)
    expected = np.concatenate([batch(ids=ids[:1], content="old").fingerprints, newer.fingerprints])
    assert (found[HOUR].fingerprints == expected).all()
    assert len(found[HOUR + 1].fingerprints) == 0


def test_many_hours_are_one_query(ledger):
    statements = []
    sa.event.listen(
        ledger._engine, "before_cursor_execute", lambda *given: statements.append(given[2])
    )
    ledger.acknowledged(STORE, [HOUR + n for n in range(168)], site=SITE)
    ledger.acknowledged(STORE, [HOUR + 1000 * n for n in range(168)], site=SITE)
    assert len(statements) == 2


def test_an_event_costs_well_under_50_bytes(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger(f"sqlite:///{path}") as ledger:
        for n in range(200):
            found = np.frombuffer(np.random.default_rng(n).bytes(24 * 500), FINGERPRINT)
            given = batch(HOUR + n, events=0)
            ledger.record(
                STORE, BatchRecord(**(fields(given) | {"fingerprints": found})), site=SITE
            )
    assert path.stat().st_size / (200 * 500) < 35


def fields(given):
    return {name: getattr(given, name) for name in given.__slots__}


def test_the_results_table_keeps_the_contract():
    kept = [batch(events=2), batch(events=3)]
    table = results_table(STORE, kept)
    assert table.schema == EMISSION_RESULTS.schema
    assert table.column("events").to_pylist() == [2, 3]
    assert [len(ids) for ids in table.column("event_ids").to_pylist()] == [2, 3]
    assert table.column("sent_at")[0].as_py().isoformat() == "2026-01-31T12:00:00.123000+00:00"
    assert results_table(STORE, []).schema == EMISSION_RESULTS.schema


OPEN_AT_ONCE = """
import sys
from caliper_dagster.emitter import Ledger
print("ready", flush=True)
sys.stdin.readline()
with Ledger(sys.argv[1]) as ledger:
    print(repr(ledger.batches("store", [], site="site")))
"""


def open_at_once(url: str, processes: int) -> None:
    """Open a ledger in several processes at the same moment; none may fail."""
    opening = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN_AT_ONCE, url],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    for process in opening:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in opening:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in opening:
        assert process.communicate(timeout=60) == ("{}\n", "")


def test_two_processes_can_create_it_at_once(ledger_url):
    open_at_once(ledger_url, 2)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ledger.sqlite",
        "mysql+pymysql://u:passw0rd@host/db",
        "postgresql+nosuch://u:passw0rd@host/db",
        "postgresql+psycopg2://u:passw0rd@host:port/db",
        "postgresql+psycopg2://u:passw0rd@127.0.0.1:1/db",
        "postgresql+psycopg2://u@127.0.0.1:1/db?password=passw0rd",
        "sqlite:////proc/nowhere/ledger.sqlite",
    ],
)
def test_a_url_that_cannot_be_used_is_a_setting_to_mend(url):
    with pytest.raises(ConfigurationError, match="CALIPER_LEDGER_URL") as caught, Ledger(url):
        pass
    assert "passw0rd" not in "".join(traceback.format_exception(caught.value))


def test_a_file_that_is_no_ledger_is_a_setting_to_mend(tmp_path):
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"this is a diary " * 100)
    with (
        pytest.raises(ConfigurationError, match=r"CALIPER_LEDGER_URL.*not a database"),
        Ledger(f"sqlite:///{path}"),
    ):
        pass


def test_a_ledger_that_breaks_later_says_so(ledger):
    with ledger._engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE caliper_batch"))
    with pytest.raises(StorageError, match="could not be written") as caught:
        ledger.record(STORE, batch(), site=SITE)
    assert "INSERT" not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(StorageError, match="could not be read"):
        ledger.batches(STORE, [HOUR], site=SITE)


EARLIER_RELEASE = """
CREATE TABLE caliper_batch (
    id {serial} PRIMARY KEY, site TEXT NOT NULL, event_store TEXT NOT NULL, hour INTEGER NOT NULL,
    batch_id TEXT NOT NULL UNIQUE, outcome TEXT NOT NULL, events INTEGER NOT NULL,
    bytes BIGINT NOT NULL, attempts INTEGER NOT NULL, http_status INTEGER, sent_at BIGINT NOT NULL,
    answered_at BIGINT NOT NULL, error TEXT, fingerprints {blob} NOT NULL
)
"""
EARLIER_INSERT = """
INSERT INTO caliper_batch (site, event_store, hour, batch_id, outcome, events, bytes, attempts,
    sent_at, answered_at, fingerprints)
VALUES (:site, :store, :hour, :batch_id, 'acknowledged', 3, 1234, 1, 0, 0, :fingerprints)
"""


def earlier_ledger(url: str) -> sa.Engine:
    """A ledger as the last release without mapping revisions made it."""
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(exist_ok=True)
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    types = {"serial": "INTEGER", "blob": "BLOB"}
    if engine.dialect.name == "postgresql":
        types = {"serial": "BIGSERIAL", "blob": "BYTEA"}
    with engine.begin() as connection:
        connection.execute(sa.text(EARLIER_RELEASE.format_map(types)))
    return engine


def write_as_earlier(engine: sa.Engine, record: BatchRecord) -> None:
    """What a process of that release does when an envelope is acknowledged."""
    values = {
        "site": SITE,
        "store": STORE,
        "hour": record.hour.number,
        "batch_id": record.batch_id,
        "fingerprints": record.fingerprints.tobytes(),
    }
    with engine.begin() as connection:
        connection.execute(sa.text(EARLIER_INSERT), values)


def test_a_ledger_of_an_earlier_release_counts_as_the_oldest_revision(ledger_url: str) -> None:
    engine = earlier_ledger(ledger_url)
    first, second, third = batch(), batch(), batch(HOUR + 1)
    write_as_earlier(engine, first)
    with Ledger(ledger_url) as ledger:
        ledger.record(STORE, second, site=SITE)
        # A process of the earlier release that still runs goes on writing.
        write_as_earlier(engine, third)
        batches = ledger.batches(STORE, [HOUR, HOUR + 1], site=SITE)
        assert [(b.batch_id, b.mapping_revision) for b in batches[HOUR]] == [
            (first.batch_id, 1),
            (second.batch_id, MAPPING_REVISION),
        ]
        assert [b.mapping_revision for b in batches[HOUR + 1]] == [1]
        before = ledger.acknowledged_otherwise(STORE, MAPPING_REVISION, site=SITE)
        assert before == {HOUR: 3, HOUR + 1: 3}
        assert ledger.hours_of_several_revisions(STORE, site=SITE) == [HOUR]
        only = HourRange(HOUR + 1, HOUR + 2)
        assert ledger.acknowledged_otherwise(STORE, MAPPING_REVISION, site=SITE, hours=only) == {
            HOUR + 1: 3
        }


def test_events_that_were_sent_again_are_of_the_new_revision(ledger_url: str) -> None:
    ids = [f"urn:uuid:{uuid.UUID(int=n)}" for n in range(5)]
    with Ledger(ledger_url) as ledger:
        ledger.record(STORE, batch(ids=ids, revision=1), site=SITE)
        ledger.record(STORE, batch(ids=ids, revision=1, content="again"), site=SITE)
        ledger.record(STORE, batch(ids=ids[:2], content="new"), site=SITE)
        rejected = batch(ids=ids[2:3], content="new", outcome="rejected")
        ledger.record(STORE, rejected, site=SITE)
        before = ledger.acknowledged_otherwise(STORE, MAPPING_REVISION, site=SITE)
    assert before == {HOUR: 3}


def test_processes_can_open_a_ledger_of_an_earlier_release_at_once(ledger_url: str) -> None:
    earlier_ledger(ledger_url)
    open_at_once(ledger_url, 3)

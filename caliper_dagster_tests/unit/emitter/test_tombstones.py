"""Tombstones in the ledger, and how it forgets the content of events."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from caliper_dagster.core.hours import Hour
from caliper_dagster.core.tombstones import Tombstones
from caliper_dagster.emitter import Ledger, Send
from caliper_dagster.emitter.ledger import ACKNOWLEDGED, REJECTED, BatchRecord
from caliper_dagster.emitter.ledger.fingerprints import fingerprints, text_slices
from caliper_dagster.emitter.ledger.records import LedgerState

SITE, OTHER = "https://a.example.org", "https://b.example.org"
HOUR = Hour(500_000)
IDS = [f"urn:uuid:00000000-0000-5000-8000-00000000000{number}" for number in range(1, 4)]
QUOTED = "Ana Müller is no valid actor"


def files(ledger_file: Path) -> bytes:
    return b"".join(path.read_bytes() for path in ledger_file.parent.glob("ledger.sqlite*"))


def packed(*events: tuple[str, str]) -> object:
    texts = pa.array([text for _, text in events], pa.large_string())
    return fingerprints(pa.array([id_ for id_, _ in events], pa.large_string()), text_slices(texts))


def batch(outcome: str, *events: tuple[str, str], error: str | None = None) -> BatchRecord:
    return BatchRecord(
        hour=HOUR,
        batch_id=f"urn:uuid:{outcome}-{events[0][0]}",
        outcome=outcome,
        bytes=1,
        attempts=1,
        http_status=200,
        sent_at=1,
        answered_at=2,
        error=error,
        mapping_revision=2,
        fingerprints=packed(*events),
    )


def test_who_was_erased_is_known_only_to_who_has_the_id(ledger: Ledger, tmp_path: Path) -> None:
    tombstones = ledger.tombstones(SITE)
    assert not tombstones.read()
    erased = tombstones.add([123_456_789, 7])
    assert erased.among([7, 8, 123_456_789, 7]) == {7, 123_456_789}
    assert tombstones.read() == erased
    assert not ledger.tombstones(OTHER).read()
    assert b"123456789" not in files(tmp_path / "ledger.sqlite")


def test_the_key_is_made_once_and_is_another_one_for_each_site(ledger: Ledger) -> None:
    first = ledger.tombstones(SITE).add([7])
    again = ledger.tombstones(SITE).add([7, 8])
    other = ledger.tombstones(OTHER).add([7])
    assert first.key == again.key != other.key
    assert first.marks < again.marks
    assert first.marks.isdisjoint(other.marks)
    assert Tombstones(other.key, first.marks).among([7]) == set()


def test_an_erasure_that_was_cut_off_is_not_finished(ledger: Ledger) -> None:
    tombstones = ledger.tombstones(SITE)
    assert tombstones.unfinished([7, 8]) == {7, 8}
    tombstones.add([7, 8])
    tombstones.finish([8])
    assert tombstones.unfinished([7, 8, 9]) == {7, 9}


def test_a_request_is_answered_once(ledger: Ledger) -> None:
    tombstones = ledger.tombstones(SITE)
    assert tombstones.unanswered("export", [1, 2]) == {1, 2}
    tombstones.answer("export", [1])
    tombstones.answer("export", [1])
    assert tombstones.unanswered("export", [1, 2]) == {2}
    assert not tombstones.read()


def test_an_event_whose_content_is_forgotten_stays_acknowledged(ledger: Ledger) -> None:
    ledger.record("lrs", batch(ACKNOWLEDGED, (IDS[0], "Ana"), (IDS[1], "Bo")), site=SITE)
    erasure = ledger.erasure(SITE)
    answers = list(erasure.answers({HOUR: [IDS[0], IDS[2]]}))
    assert [(it.event_store, it.event_id, it.outcome) for it in answers] == [
        ("lrs", IDS[0], ACKNOWLEDGED)
    ]
    before = ledger.batches("lrs", [HOUR], site=SITE)[HOUR]
    erasure.forget({HOUR: [IDS[0]]})
    after = ledger.batches("lrs", [HOUR], site=SITE)[HOUR]
    assert after[0].event_ids() == before[0].event_ids()
    changed = packed((IDS[0], "anonymous"), (IDS[1], "another Bo"), (IDS[2], "new"))
    state = LedgerState.of(changed, 2, after)
    assert Send.UNACKNOWLEDGED.choose(state).tolist() == [False, True, True]
    assert Send.CHANGED.choose(state).tolist() == [False, True, True]
    assert packed((IDS[0], "Ana"))["content"][0] not in after[0].fingerprints["content"]


def test_words_about_a_rejected_event_go_without_a_trace(ledger: Ledger, tmp_path: Path) -> None:
    ledger.record("lrs", batch(REJECTED, (IDS[0], "Ana"), error=QUOTED), site=SITE)
    ledger.record("lrs", batch(REJECTED, (IDS[1], "Bo"), error="Bo, not Ana Müller"), site=SITE)
    ledger.record("lrs", batch(REJECTED, (IDS[2], "Cy"), error="no reason"), site=SITE)
    erasure = ledger.erasure(SITE)
    erasure.forget({HOUR: [IDS[0]]})
    erasure.forget_errors([HOUR], lambda text: "Ana Müller" in text)
    erasure.flush()
    errors = [it.error for it in ledger.batches("lrs", [HOUR], site=SITE)[HOUR]]
    assert errors == [None, None, "no reason"]
    assert "Ana Müller".encode() not in files(tmp_path / "ledger.sqlite")


def test_a_ledger_of_an_earlier_release_gets_the_table(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(f"sqlite:///{path}"):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE caliper_tombstone")
    with Ledger(f"sqlite:///{path}") as ledger:
        assert ledger.tombstones(SITE).add([7]).among([7]) == {7}

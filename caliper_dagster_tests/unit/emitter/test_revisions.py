"""An event that was acknowledged under another mapping revision counts by its id."""

from __future__ import annotations

import pytest

from caliper_dagster.core.revisions import MAPPING_REVISION
from caliper_dagster.emitter import Ledger, Send
from caliper_dagster_tests.harness.hostile_store import (
    HOUR,
    OK,
    HostileStore,
    answer,
    event_id,
    events_table,
    refusing,
    send,
)

OLDER = MAPPING_REVISION - 1


def test_a_release_that_changes_every_event_sends_only_new_ones(ledger: Ledger) -> None:
    with HostileStore() as store:
        send([(HOUR, events_table(count=10), OLDER)], store, ledger)
        upgraded = [(HOUR, events_table(count=11, text="changed"))]
        (_, counts) = send(upgraded, store, ledger)[HOUR]
        assert (counts.sent, counts.already_acknowledged, counts.changed) == (1, 10, 10)
        assert store.event_ids()[10:] == [event_id(HOUR, 10)]
        (_, counts) = send(upgraded, store, ledger, send=Send.NEW)[HOUR]
        assert (counts.sent, counts.changed) == (0, 10)

        (_, counts) = send(upgraded, store, ledger, send=Send.CHANGED)[HOUR]
        assert (counts.sent, counts.already_acknowledged, counts.changed) == (10, 1, 0)
        (_, counts) = send(upgraded, store, ledger, send=Send.CHANGED)[HOUR]
        assert (counts.sent, counts.already_acknowledged) == (0, 11)


def test_within_a_revision_changed_content_is_sent_again(ledger: Ledger) -> None:
    with HostileStore() as store:
        send([(HOUR, events_table(count=10), OLDER)], store, ledger)
        send([(HOUR, events_table(count=10, text="changed"))], store, ledger, send=Send.CHANGED)
        renamed = events_table(count=10, text=lambda n: "renamed" if n < 3 else "changed")
        (_, counts) = send([(HOUR, renamed)], store, ledger)[HOUR]
    assert (counts.sent, counts.changed) == (3, 0)


def test_the_same_content_under_another_revision_has_not_changed(ledger: Ledger) -> None:
    with HostileStore() as store:
        send([(HOUR, events_table(count=10), OLDER)], store, ledger)
        (_, counts) = send([(HOUR, events_table(count=10))], store, ledger, send=Send.CHANGED)[HOUR]
    assert (counts.sent, counts.already_acknowledged, counts.changed) == (0, 10, 0)


def test_an_older_release_does_not_send_its_content_over_a_newer_one(ledger: Ledger) -> None:
    with HostileStore() as store:
        send([(HOUR, events_table(count=10))], store, ledger)
        (_, counts) = send([(HOUR, events_table(count=10, text="old"), OLDER)], store, ledger)[HOUR]
    assert (counts.sent, counts.changed) == (0, 10)


@pytest.mark.parametrize("which", [Send.UNACKNOWLEDGED, Send.NEW])
def test_what_was_rejected_before_is_tried_with_its_new_content(
    ledger: Ledger, which: Send
) -> None:
    refused = [event_id(HOUR, 4)]
    with HostileStore(refusing(refused, answer(400, b"no"))) as store:
        send([(HOUR, events_table(count=10), OLDER)], store, ledger)
        store.behaviours = [OK]
        upgraded = [(HOUR, events_table(count=10, text="changed"))]
        (_, counts) = send(upgraded, store, ledger, send=which)[HOUR]
        assert (counts.sent, counts.rejected, counts.changed) == (1, 0, 9)
        assert send(upgraded, store, ledger)[HOUR][1].sent == 0


def test_what_was_never_answered_is_sent(ledger: Ledger) -> None:
    with HostileStore() as store:
        send([(HOUR, events_table(count=4), OLDER)], store, ledger)
        (_, counts) = send([(HOUR, events_table(count=10, text="changed"))], store, ledger)[HOUR]
    assert (counts.sent, counts.changed) == (6, 4)

"""The keys of event stores in a ledger on PostgreSQL."""

from __future__ import annotations

import uuid

import pytest

from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.key_schedule import FIRST_HOUR, KeySchedule
from caliper_dagster.emitter import Ledger
from caliper_dagster_tests.harness.hostile_store import HOUR
from caliper_dagster_tests.unit.emitter.test_ledger import STORE, batch

ONE = KeySchedule(((FIRST_HOUR, "one"),))
OTHER = KeySchedule(((FIRST_HOUR, "other"),))


def later(hour: Hour) -> KeySchedule:
    return KeySchedule((*ONE.keys, (hour, "other")))


def test_keys_of_hours_that_were_sent_stay(postgres_url: str) -> None:
    site = f"https://{uuid.uuid4()}.example.org"
    with Ledger(postgres_url) as ledger:
        keys = ledger.pseudonym_keys(site)
        assert keys.recorded(STORE) == KeySchedule(())
        keys.claim(STORE, OTHER)
        keys.claim(STORE, ONE)  # Nothing was sent yet.
        ledger.record(STORE, batch(), site=site)
        for refused in (OTHER, later(HOUR)):
            with pytest.raises(ConfigurationError, match="is not the key under which events were"):
                keys.claim(STORE, refused)
        keys.claim(STORE, later(HOUR + 1))
        assert keys.recorded(STORE) == later(HOUR + 1)
        assert keys.acknowledged_events(STORE, HOUR) == len([*keys.acknowledged_ids(STORE, HOUR)])
        assert keys.acknowledged_events(STORE, HOUR + 1) == 0
        keys.replace(STORE, OTHER)
        assert keys.recorded(STORE) == OTHER
        assert ledger.pseudonym_keys("another site").recorded(STORE) == KeySchedule(())

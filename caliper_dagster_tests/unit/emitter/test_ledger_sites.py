"""The ledger knows its sites: a changed address is an error, another site is not."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.site_identity import SiteIdentity
from caliper_dagster.emitter import Ledger
from caliper_dagster.emitter.ledger import ACKNOWLEDGED, BatchRecord
from caliper_dagster.emitter.ledger.fingerprints import FINGERPRINT
from caliper_dagster_tests.harness.paths import DATA

OLD, NEW, OTHER = "http://a.example.org", "https://a.example.org", "https://b.example.org"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.sqlite'}"


def site(site_id: str, name: str | None = None, *, chosen: bool = False) -> SiteIdentity:
    return SiteIdentity(site_id, site_id, name, chosen)


def opens(url: str, identity: SiteIdentity) -> bool:
    try:
        with Ledger(url, identity):
            return True
    except ConfigurationError:
        return False


def claim(url: str, identity: SiteIdentity) -> None:
    with Ledger(url, identity) as ledger:
        ledger.claim(identity)


def acknowledge(url: str, site_id: str) -> None:
    """What a release without records left of a site."""
    batch = BatchRecord(
        hour=Hour(1),
        batch_id=f"urn:uuid:{site_id}",
        outcome=ACKNOWLEDGED,
        bytes=1,
        attempts=1,
        http_status=200,
        sent_at=0,
        answered_at=0,
        error=None,
        mapping_revision=1,
        fingerprints=np.zeros(1, FINGERPRINT),
    )
    with Ledger(url) as ledger:
        ledger.record("store", batch, site=site_id)


def test_the_same_site_at_another_address_is_an_error_with_a_choice(url: str) -> None:
    claim(url, site(OLD))
    with pytest.raises(ConfigurationError) as error, Ledger(url, site(NEW)):
        pass
    assert str(error.value) == (
        f"MOODLE_WWWROOT is {NEW}, but the ledger was made for {OLD}: the events would get other "
        f"ids and be sent again. If it is the same site, set CALIPER_SITE_ID={OLD}, which keeps "
        f"the ids and what was sent. If it is another site, set CALIPER_SITE_ID={NEW}."
    )
    assert opens(url, SiteIdentity(OLD, NEW, chosen=True))
    assert opens(url, site(NEW, chosen=True))
    claim(url, site(NEW, chosen=True))
    # Both are known now, so neither needs the setting.
    assert opens(url, site(OLD))
    assert opens(url, site(NEW))


def test_opening_records_nothing(url: str) -> None:
    assert opens(url, site(OLD))
    assert opens(url, site(NEW))


def test_the_sites_of_one_installation_are_told_apart(url: str) -> None:
    claim(url, site(OLD, "north"))
    claim(url, site(OTHER, "south"))
    assert opens(url, site("https://c.example.org", "west"))
    assert not opens(url, site(NEW, "north"))
    assert not opens(url, site(NEW, "south"))
    assert opens(url, SiteIdentity(OLD, NEW, "north", chosen=True))


def test_the_only_site_may_become_one_of_several(url: str) -> None:
    claim(url, site(OLD))
    claim(url, site(OLD, "north"))
    assert not opens(url, site(NEW, "north"))
    assert opens(url, site(NEW))


def test_a_ledger_of_an_earlier_release_is_taken_for_that_of_its_site(url: str) -> None:
    acknowledge(url, OLD)
    assert opens(url, site(OLD))
    assert not opens(url, site(NEW))
    # Several sites have always shared a ledger.
    assert opens(url, site(NEW, "north"))
    acknowledge(url, OTHER)
    assert opens(url, site(OTHER))
    claim(url, site(OLD))
    claim(url, site(OTHER))
    assert not opens(url, site(NEW))


def test_a_real_ledger_of_an_earlier_release_is_upgraded(tmp_path: Path, url: str) -> None:
    dump = (DATA / "revision_1" / "ledger.sql").read_text(encoding="utf-8")
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
        connection.executescript(dump)
        (known,) = connection.execute("SELECT DISTINCT site FROM caliper_batch").fetchone()
    assert not opens(url, site(NEW))
    claim(url, site(known))
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
        rows = connection.execute("SELECT site, address, name FROM caliper_site").fetchall()
    assert rows == [(known, known, "")]

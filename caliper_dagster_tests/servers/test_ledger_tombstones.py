"""Tombstones and forgotten content in a ledger in PostgreSQL: as in SQLite, and by its means."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from caliper_dagster.emitter import Ledger
from caliper_dagster.emitter.ledger import ACKNOWLEDGED, REJECTED
from caliper_dagster_tests.unit.emitter.test_tombstones import (
    HOUR,
    IDS,
    QUOTED,
    SITE,
    batch,
    packed,
    test_a_request_is_answered_once,
    test_an_erasure_that_was_cut_off_is_not_finished,
    test_an_event_whose_content_is_forgotten_stays_acknowledged,
    test_the_key_is_made_once_and_is_another_one_for_each_site,
)

__all__ = [
    "test_a_request_is_answered_once",
    "test_an_erasure_that_was_cut_off_is_not_finished",
    "test_an_event_whose_content_is_forgotten_stays_acknowledged",
    "test_the_key_is_made_once_and_is_another_one_for_each_site",
]

USER = 123_456_789


@pytest.fixture
def ledger(postgres_url: str) -> Iterator[Ledger]:
    with Ledger(postgres_url) as opened:
        yield opened


def content(url: str) -> str:
    """All that stands in the tables of the ledger."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    tables = sa.MetaData()
    with engine.connect() as connection:
        tables.reflect(connection)
        found = [
            value.hex() if isinstance(value, bytes | memoryview) else str(value)
            for table in tables.sorted_tables
            for row in connection.execute(sa.select(table))
            for value in row
        ]
    engine.dispose()
    return "\n".join(found)


def erase(ledger: Ledger) -> None:
    """What an erasure writes to the ledger."""
    tombstones, erasure = ledger.tombstones(SITE), ledger.erasure(SITE)
    tombstones.add([USER])
    erasure.forget({HOUR: IDS[:2]})
    erasure.forget_errors([HOUR], lambda text: QUOTED in text)
    erasure.flush()
    tombstones.finish([USER])


def test_no_row_tells_of_the_person(ledger: Ledger, postgres_url: str) -> None:
    ledger.record("lrs", batch(ACKNOWLEDGED, (IDS[0], "Ana"), (IDS[2], "Bo")), site=SITE)
    ledger.record("lrs", batch(REJECTED, (IDS[1], "Ana too"), error=QUOTED), site=SITE)
    hashes = [packed((IDS[0], text))["content"][0].tobytes().hex() for text in ("Ana", "Ana too")]
    assert all(part in content(postgres_url) for part in (QUOTED, *hashes))
    erase(ledger)
    left = content(postgres_url)
    assert not [part for part in (QUOTED, str(USER), *hashes) if part in left]
    assert ledger.tombstones(SITE).read().among([USER, 7]) == {USER}
    assert ledger.tombstones(SITE).unfinished([USER, 7]) == {7}


def test_processes_that_erase_at_once_have_one_key(postgres_url: str) -> None:
    with Ledger(postgres_url):
        pass

    def add(user: int) -> bytes:
        with Ledger(postgres_url) as ledger:
            return ledger.tombstones(SITE).add([user]).key

    with ThreadPoolExecutor(6) as threads:
        assert len(set(threads.map(add, range(1, 13)))) == 1
    with Ledger(postgres_url) as ledger:
        assert ledger.tombstones(SITE).read().among(range(20)) == {*range(1, 13)}


def test_an_account_with_the_rights_that_the_docs_name_can_erase(postgres_url: str) -> None:
    role = f"eraser_{uuid.uuid4().hex}"
    with Ledger(postgres_url) as ledger:
        ledger.record("lrs", batch(ACKNOWLEDGED, (IDS[0], "Ana")), site=SITE)
    engine = sa.create_engine(postgres_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {role} LOGIN PASSWORD 'er4ser'"))
        for rights in (
            "SELECT, INSERT, UPDATE ON caliper_batch",
            "SELECT, INSERT, UPDATE ON caliper_tombstone",
        ):
            connection.execute(sa.text(f"GRANT {rights} TO {role}"))
    account = sa.make_url(postgres_url).set(username=role, password="er4ser")
    with Ledger(account.render_as_string(hide_password=False)) as ledger:
        erase(ledger)
        assert ledger.tombstones(SITE).read().among([USER]) == {USER}
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP OWNED BY {role}"))
        connection.execute(sa.text(f"DROP ROLE {role}"))
    engine.dispose()

"""The ledger in PostgreSQL: as in SQLite, and with the accounts of a server."""

import traceback
import uuid

import pytest
import sqlalchemy as sa

from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.emitter import Ledger
from caliper_dagster_tests.harness.hostile_store import HOUR
from caliper_dagster_tests.unit.emitter.test_delivery import (  # noqa: F401
    test_the_ledger_lists_what_is_rejected_now,
)
from caliper_dagster_tests.unit.emitter.test_emission import (  # noqa: F401
    test_the_embedded_event_store_holds_each_event_once,
)
from caliper_dagster_tests.unit.emitter.test_leases import (  # noqa: F401
    test_a_killed_run_is_not_waited_for,
    test_a_lease_that_is_not_kept_ends,
    test_an_hour_is_leased_once_and_other_hours_and_sites_are_free,
    test_two_runs_at_once_send_each_event_once,
)
from caliper_dagster_tests.unit.emitter.test_ledger import (  # noqa: F401
    STORE,
    batch,
    earlier_ledger,
    test_a_ledger_of_an_earlier_release_counts_as_the_oldest_revision,
    test_acknowledged_is_the_last_acknowledged_content_only,
    test_events_that_were_sent_again_are_of_the_new_revision,
    test_processes_can_open_a_ledger_of_an_earlier_release_at_once,
    test_sites_event_stores_and_hours_are_kept_apart,
    test_two_processes_can_create_it_at_once,
    test_what_was_recorded_is_there_after_reopening,
)


def test_a_wrong_password_is_a_setting_to_mend(postgres_url):
    wrong = sa.make_url(postgres_url).set(username="stranger", password="wr0ngword")
    url = wrong.render_as_string(hide_password=False)
    with pytest.raises(ConfigurationError, match="CALIPER_LEDGER_URL") as caught, Ledger(url):
        pass
    assert "wr0ngword" not in "".join(traceback.format_exception(caught.value))
    assert repr(Ledger(url)).count("stranger") == repr(Ledger(url)).count("wr0ngword") == 0


def test_an_account_that_may_not_create_tables_can_use_an_existing_ledger(postgres_url):
    url = sa.make_url(postgres_url)
    site = f"https://{uuid.uuid4()}.example.org"
    with Ledger(postgres_url) as ledger:
        ledger.record(STORE, batch(), site=site)
    role = f"writer_{uuid.uuid4().hex}"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {role} LOGIN PASSWORD 'wr1ter'"))
        connection.execute(sa.text("REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
        connection.execute(sa.text(f"GRANT SELECT, INSERT ON caliper_batch TO {role}"))
        connection.execute(sa.text(f"GRANT USAGE ON SEQUENCE caliper_batch_id_seq TO {role}"))
    writer = url.set(username=role, password="wr1ter").render_as_string(hide_password=False)
    with Ledger(writer) as ledger:
        ledger.record(STORE, batch(), site=site)
        assert len(ledger.batches(STORE, [HOUR], site=site)[HOUR]) == 2
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP OWNED BY {role}"))
        connection.execute(sa.text(f"DROP ROLE {role}"))
    engine.dispose()


def test_an_account_that_may_not_add_the_column_is_told_the_statement(postgres_url: str) -> None:
    earlier_ledger(postgres_url)
    role = f"writer_{uuid.uuid4().hex}"
    engine = sa.create_engine(postgres_url)
    with engine.begin() as connection:
        # What an earlier release made beside the batches.
        connection.execute(
            sa.text(
                "CREATE TABLE caliper_lease (site TEXT); CREATE TABLE caliper_left_over (id INT)"
            )
        )
        connection.execute(sa.text(f"CREATE ROLE {role} LOGIN PASSWORD 'wr1ter'"))
        connection.execute(sa.text(f"GRANT SELECT, INSERT ON caliper_batch TO {role}"))
    writer = sa.make_url(postgres_url).set(username=role, password="wr1ter")
    url = writer.render_as_string(hide_password=False)
    with pytest.raises(ConfigurationError) as caught, Ledger(url):
        pass
    statement = str(caught.value).partition("`")[2].partition("`")[0]
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    with Ledger(url) as ledger:
        assert ledger.batches(STORE, [HOUR], site="site") == {HOUR: []}
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP OWNED BY {role}"))
        connection.execute(sa.text(f"DROP ROLE {role}"))
    engine.dispose()

"""Retention where Dagster's records and the ledger are in PostgreSQL, and hours in objects."""

from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from caliper_dagster.cli.main import main
from caliper_dagster.core.frames import FRAMES
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.sample_installation import HOURS, sample_installation
from caliper_dagster_tests.unit.emitter.test_ledger_retention import (  # noqa: F401
    test_a_pruned_hour_counts_as_acknowledged_with_whatever_content,
    test_an_hour_is_leased_only_while_it_is_sent,
    test_only_batches_whose_events_were_all_acknowledged_again_go,
)

RANGE = ["--from", str(HOURS.start), "--to", str(HOURS.end)]


def test_all_goes_after_its_time_and_nothing_is_sent_twice(
    tmp_path: Path,
    postgres_url: str,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    everywhere = {
        "DAGSTER_POSTGRES_URL": postgres_url,
        "CALIPER_LEDGER_URL": postgres_url,
        "CALIPER_STORAGE": bucket,
        "CALIPER_KEEP_PARTITIONS": "moodle_log=1,expanded_log=1,caliper_events=1,"
        "emission_results=1",
        "CALIPER_KEEP_RUNS": "1",
    }
    with (
        sample_installation(tmp_path, students=5) as site,
        environment(dict(site.environment) | everywhere),
    ):
        assert main(["backfill", *RANGE]) == 0
        assert main(["backfill", *RANGE, "--again"]) == 0
        sent = site.arrived().received
        engine = sa.create_engine(postgres_url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE runs SET update_timestamp = '2026-03-02 13:00:00'"))
        assert main(["prune", "--plan"]) == 0
        assert site.storage.hour_sizes(FRAMES[0])
        assert main(["prune"]) == 0
        with engine.begin() as connection:
            kinds = connection.execute(
                sa.text(
                    "SELECT dagster_event_type, count(*) FROM event_logs "
                    "GROUP BY dagster_event_type"
                )
            )
            materializations = len(HOURS) * len(FRAMES)
            assert dict(kinds.all()) == {
                "ASSET_MATERIALIZATION": materializations,
                "ASSET_OBSERVATION": 1,
            }
        engine.dispose()
        for frame in FRAMES:
            assert site.storage.hour_sizes(frame) == {}
            with open_instance() as instance:
                assert instance.get_runs_count() == 0
                key = dg.AssetKey([frame.name])
                instance.wipe_asset_cached_status([key])
                assert instance.get_materialized_partitions(key) == {h.key for h in HOURS}
        assert main(["backfill", *RANGE]) == 0
        assert site.run(CHAIN_JOB, HOURS).success
        assert site.arrived().received == sent
    capsys.readouterr()

"""Names are not stored, and an hour with a person's name in a text is withheld all the same."""

from __future__ import annotations

from pathlib import Path

from caliper_dagster.core.frames import CALIPER_EVENTS, EXPANDED_LOG
from caliper_dagster.core.hour_verdict import HourVerdict
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster_tests.end_to_end.test_bad_hour import BAD, assert_only_the_others_arrived
from caliper_dagster_tests.end_to_end.test_personal_data_stays import FIELD, plant
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.sample_installation import HOURS, sample_installation


def test_a_run_reads_the_names_from_moodle_and_withholds_the_hour(tmp_path: Path) -> None:
    with sample_installation(tmp_path) as site:
        plant(site)
        with environment({**site.environment, "CALIPER_STORED_NAMES": "false"}):
            site.run(CHAIN_JOB, HOURS)
        assert_only_the_others_arrived(site)
        records = site.storage.read(EXPANDED_LOG, [BAD], ["user"])["user"].unique().to_pylist()
        assert any('"lastname":null' in text for text in records if text)
        assert not any('"lastname":"' in text for text in records if text)
        verdict = HourVerdict.from_footer_stats(site.storage.footer_stats(CALIPER_EVENTS, BAD))
        assert verdict is not None
        assert dict(verdict.fields).keys() == {FIELD}

"""The leak check finds nothing in two days of the sample site, whose texts name nobody."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from caliper_dagster.core.privacy import PROFILES, ProfileName
from caliper_dagster.embedded.sample import SampleSummary, write_sample
from caliper_dagster.expander import MoodleDatabase, expand, read_log
from caliper_dagster.translator import Translator

END = datetime(2026, 6, 11, tzinfo=UTC)
"""After a Tuesday and a Wednesday, for a weekend has fewer rows."""


@pytest.fixture(scope="module")
def two_days(tmp_path_factory: pytest.TempPathFactory) -> tuple[SampleSummary, pa.Table]:
    path = tmp_path_factory.mktemp("site") / "moodle.sqlite"
    sample = write_sample(path, students=100, end=END)
    with MoodleDatabase.open(f"sqlite:///{sample.path}") as database:
        log = pa.concat_tables(rows for _, rows in read_log(database, sample.hours))
        return sample, expand(database, log.unify_dictionaries())


@pytest.mark.parametrize("profile", [name for name in PROFILES if name != "full"])
def test_the_sample_site(profile: ProfileName, two_days: tuple[SampleSummary, pa.Table]) -> None:
    sample, expanded = two_days
    key = b"k" * 32 if PROFILES[profile].keyed else None
    searched = Translator(sample.wwwroot, profile=profile, key=key).translate_and_search(expanded)
    assert len(sample.hours) >= 48
    assert searched.events.num_rows >= expanded.num_rows > 5_000
    assert searched.leaks == []

"""The columns and queries of ``docs/data.md`` over the real site's events."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from caliper_dagster_tests.harness.questions import answers, columns_against_events
from caliper_dagster_tests.real_site.site import Site, Translation, user


@pytest.fixture
def storage(translation: Translation, tmp_path: Path) -> str:
    """A folder with all events in one file."""
    day = tmp_path / "caliper_events" / "date=2026-03-25"
    day.mkdir(parents=True)
    pq.write_table(translation.table, day / "all.parquet")
    return str(tmp_path)


def test_the_columns_say_what_the_events_say(storage: str) -> None:
    for name, (filled, different) in columns_against_events(storage).items():
        assert (filled > 100, different) == (True, 0), name


def test_who_answers_whom_in_forums(site: Site, storage: str) -> None:
    posts, parents = site.table("forum_posts"), Counter()
    for row in site.log:
        post = posts.get(row.objectid)
        is_post = row.eventname == r"\mod_forum\event\post_created"
        if is_post and post and post.parent in posts and not row.anonymous:
            author = row.realuserid or row.userid
            parents[user(author), user(posts[post.parent].userid)] += 1
    found = answers(storage, "Who answers whom")
    assert {row[:2]: row[2] for row in found} == parents
    assert len(found) > 5

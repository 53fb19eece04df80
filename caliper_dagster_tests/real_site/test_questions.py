"""The query of ``docs/data.md`` that the sample site has no rows for."""

from __future__ import annotations

from collections import Counter

from caliper_dagster_tests.harness.questions import answers
from caliper_dagster_tests.real_site.site import Site, Translation, user


def test_who_answers_whom_in_forums(site: Site, translations: dict[str, Translation]) -> None:
    posts, parents = site.table("forum_posts"), Counter()
    for row in site.log:
        post = posts.get(row.objectid)
        is_post = row.eventname == r"\mod_forum\event\post_created"
        if is_post and post and post.parent in posts and not row.anonymous:
            author = row.realuserid or row.userid
            parents[user(author), user(posts[post.parent].userid)] += 1
    found = answers(translations["v1p2"].table, "Who answers whom")
    assert {row[:2]: row[2] for row in found} == parents
    assert len(found) > 5

"""Ids: the same row and the same thing have the same id on every machine."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caliper_dagster.translator.identity import Iris

W = "https://moodle.example.org"


def events(site, logs, times, children=()):
    return Iris(site).events(np.array(logs), np.array(times), children).to_pylist()


def test_an_event_id_is_a_uuid5_of_site_log_id_and_time():
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, W)
    expected = [
        f"urn:uuid:{uuid.uuid5(namespace, f'logstore_standard_log:{log}:{time}')}"
        for log, time in ((1001, 1769868000), (1002, 1769868000), (1001, 1769868001))
    ]
    found = events(W, [1001, 1002, 1001], [1769868000, 1769868000, 1769868001])
    assert found == expected
    assert found[0] == "urn:uuid:35b24c01-b0ee-5c4e-ba21-73d6a2b87228"


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**40), st.text(max_size=30))
def test_ids_are_what_pythons_uuid_makes_of_them(log, time, site):
    iris = Iris(f"https://{site}")
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, f"https://{site}".rstrip("/"))
    (found,) = events(f"https://{site}", [log], [time])
    parsed = uuid.UUID(found)
    assert parsed == uuid.uuid5(namespace, f"logstore_standard_log:{log}:{time}")
    assert (parsed.version, parsed.variant) == (5, uuid.RFC_4122)
    assert iris.session(log) == f"urn:uuid:{uuid.uuid5(namespace, f'session:{log}')}"


def test_a_trailing_slash_of_the_site_makes_no_difference():
    assert events(f"{W}/", [1], [2]) == events(W, [1], [2])
    assert Iris(f"{W}/").user(3) == Iris(W).user(3) == f"{W}/user/profile.php?id=3"
    assert Iris(f"{W}/").site == W


def test_another_site_has_other_ids():
    assert events("https://other.example.org", [1], [2]) != events(W, [1], [2])


def test_things_have_the_addresses_that_moodle_gives_them():
    iris = Iris(f"{W}/moodle")
    assert iris.user(3) == f"{W}/moodle/user/profile.php?id=3"
    assert iris.membership(3, 2) == f"{W}/moodle/user/view.php?id=3&course=2"
    assert iris.course(2) == f"{W}/moodle/course/view.php?id=2"
    assert iris.course_page(2) == f"{W}/moodle/course/view.php?id=2#page"
    assert iris.course_section(2, 4) == f"{W}/moodle/course/view.php?id=2&section=4"
    assert iris.group(2, 7) == f"{W}/moodle/group/index.php?id=2&group=7"
    assert iris.activity("quiz", 11) == f"{W}/moodle/mod/quiz/view.php?id=11"


@pytest.mark.parametrize(
    ("values", "path", "missing"),
    [
        (
            {"objectid": 5, "other.mode": "a b&c=/é"},
            "p.php?id=5&mode=a%20b%26c%3D%2F%C3%A9#o-5",
            [],
        ),
        ({"objectid": 5}, "p.php?id=5#o-5", ["other.mode"]),
        ({"other.mode": "x"}, "p.php?mode=x", ["objectid", "objectid"]),
        ({"objectid": None, "other.mode": ""}, "p.php", ["objectid", "other.mode", "objectid"]),
        ({"objectid": 0, "other.mode": 0}, "p.php?id=0&mode=0#o-0", []),
    ],
)
def test_a_path_leaves_out_what_is_not_known_and_says_so(values, path, missing):
    template = "p.php?id={objectid}&mode={other.mode}#o-{objectid}"
    assert Iris(W).path(template, values) == (f"{W}/{path}", missing)


def test_a_derived_event_has_an_id_of_its_own():
    children = ("item:3", "item:4", "value:3", "thread", "launch", "score")
    ids = events(W, [1001] * 7, [1769868000] * 7, enumerate(children, 1))
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, W)
    expected = uuid.uuid5(namespace, "logstore_standard_log:1001:1769868000:item:3")
    assert ids[1] == f"urn:uuid:{expected}"
    assert len(set(ids)) == 7

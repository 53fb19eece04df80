"""Every IRI and identifier with a user's id is made by one method of ``identity``."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import pyarrow as pa
import pytest

from caliper_dagster.translator import Translator
from caliper_dagster.translator.example import example_table
from caliper_dagster.translator.identity import Iris
from caliper_dagster_tests.unit.translator.support import ALL_TEXTS, W
from caliper_dagster_tests.unit.translator.test_derived import EVERY
from caliper_dagster_tests.unit.translator.variations import UNKNOWN, rows

RAISED = 77_000_000_000
"""Added to every user id, so that none is mistaken for another number."""
RAISED_ID = re.compile(r"77\d{9}")

USERS = {"userid", "relateduserid", "realuserid", "authorid", "overrideby", "submitterid",
         "useridto", "grader", "parentuserid"}  # fmt: skip
PERSONS = {"user", "realuser", "relateduser"}

ALLOWED = {"extensions.moodle.objectId", "extensions.moodle.contextInstanceId"}
"""Raw facts of the log row, which are numbers and no ids of the event's."""


OF_ACCOUNTS = {
    *UNKNOWN,
    *(
        rf"\core\event\user_{verb}"
        for verb in (
            "created", "deleted", "loggedin", "loggedinas", "loggedout", "password_updated",
            "profile_viewed", "updated",
        )
    ),
}  # fmt: skip
"""Events whose ``objectid`` is a user's id, when their ``objecttable`` is ``user``."""


class Marked(Iris):
    """IRIs in which no user's id stands."""

    def of_user(self, user: object, before: str = "", after: str = "") -> str:
        assert int(str(user)) >= RAISED, "something else than a user's id was given for one"
        return f"{before}somebody{after}"


def raised(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        of_user = value.get("table") == "user" or key in PERSONS
        return {
            name: raised(item, "userid" if of_user and name == "id" else name)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [raised(item) for item in value]
    is_user = key in USERS or (key in PERSONS and not isinstance(value, dict))
    if is_user and value and str(value).isdecimal():
        number = int(value) + RAISED
        return str(number) if isinstance(value, str) else number
    return (
        re.sub(r"^user:(\d+)$", lambda m: f"user:{int(m[1]) + RAISED}", value)
        if (isinstance(value, str))
        else value
    )


@cache
def tainted() -> pa.Table:
    found = []
    for row in rows(EVERY.values()):
        row = {name: raised(value, name) for name, value in row.items()}
        of_user = row["eventname"] in OF_ACCOUNTS
        if row.get("objecttable") == "user" and row.get("objectid"):
            if not of_user:
                continue  # what such an event is about has a table of its own
            row["objectid"] += RAISED
        if row.get("contextlevel") == 30 and row.get("contextinstanceid"):
            row["contextinstanceid"] += RAISED
        other = row.get("other")
        tag = row["eventname"] in {r"\core\event\tag_added", r"\core\event\tag_removed"}
        if isinstance(other, dict) and other.get("itemtype") == "user":
            of_item = {"itemid": other["itemid"] + RAISED} if tag else {"itemtype": "post"}
            row["other"] = {**other, **of_item}
        found.append(row)
    return example_table(found)


def places(value: Any, path: str = "") -> list[str]:
    """Where a raised id stands."""
    if isinstance(value, dict):
        below = [(f"{path}.{key}".strip("."), item) for key, item in value.items()]
        return [at for deeper, item in below for at in places(item, deeper)]
    if isinstance(value, list):
        return [at for item in value for at in places(item, path)]
    return [path] if RAISED_ID.search(str(value)) else []


@pytest.mark.parametrize("version", ["v1p2", "v1p1"])
def test_no_users_id_leaves_but_through_the_one_method(version):
    translator = Translator(
        W,
        version=version,
        person_identifiers=("SystemId", "LtiUserId"),
        ip_addresses=True,
        texts=ALL_TEXTS,
    )
    plain = translator.translate(tainted())
    translator.render = replace(translator.render, iris=Marked(W))
    found = translator.translate(tainted())
    assert found["outcome"].equals(plain["outcome"])

    seen: Counter[tuple[str, str]] = Counter()
    marked = 0
    for name, text in zip(found["event_name"].to_pylist(), found["json"].to_pylist(), strict=True):
        marked += "somebody" in (text or "")
        for path in places(json.loads(text)) if RAISED_ID.search(text or "") else []:
            seen[path, name] += 1
    assert {path for path, _ in seen} <= ALLOWED, [key for key in seen if key[0] not in ALLOWED]
    assert marked > found.num_rows // 2


def test_a_path_gives_users_ids_to_the_one_method():
    iris = Marked(W)
    user = RAISED + 3
    template = "a.php?id={courseid}&user={relateduserid}&who={relateduserid}#u-{other.userid}"
    values = {"courseid": 2, "relateduserid": user, "other.userid": str(user)}
    assert iris.path(template, values) == (
        f"{W}/a.php?id=2&user=somebody&who=somebody#u-somebody",
        [],
    )
    assert iris.path(template, {"courseid": 2}) == (
        f"{W}/a.php?id=2",
        ["relateduserid", "relateduserid", "other.userid"],
    )
    assert Iris(W).path(template, values)[0] == f"{W}/a.php?id=2&user={user}&who={user}#u-{user}"

"""The column ``object`` (and ``module``) over the real site: what is found, and that it is true."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import defaultdict
from contextlib import closing
from functools import cache

import hypothesis.strategies as st
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings

from caliper_dagster.expander import MoodleDatabase, expand, read_log
from caliper_dagster.expander.lookups.activities import ACTIVITY_COLUMNS
from caliper_dagster.expander.objects import EVENT_LOADERS, LOADERS
from caliper_dagster.expander.objects.tables import TABLES
from caliper_dagster_tests.harness.moodle_dump import DUMP_HOURS
from caliper_dagster_tests.real_site import moodle_copy

RECORDS = ("object", "module", "other", "user_membership", "relateduser_membership", "unresolved")
MODULES = {row["objecttable"] for row in moodle_copy.object_tables()} & {
    *ACTIVITY_COLUMNS, "book", "folder", "page", "resource", "subsection"
}  # fmt: skip


def whole_log(database):
    return pa.concat_tables(
        [table for _, table in read_log(database, DUMP_HOURS)]
    ).unify_dictionaries()


def events(expanded):
    """Rows as dicts, decoded, by the name of their event without ``\\event``."""
    found = defaultdict(list)
    decoded = cache(json.loads)
    for row in expanded.to_pylist():
        for column in RECORDS:
            row[column] = row[column] and decoded(row[column])
        found[row["eventname"].replace(r"\event", "").lstrip("\\")].append(row)
    return found


@pytest.fixture(scope="module")
def site(moodle_dump_mariadb):
    with MoodleDatabase.open(moodle_dump_mariadb) as database:
        yield database


@pytest.fixture(scope="module")
def log(site):
    return whole_log(site)


@pytest.fixture(scope="module")
def real(site, log):
    return events(expand(site, log))


@pytest.fixture(scope="module")
def table(moodle_dump_mariadb):
    """Rows of a table of the site by their ids."""
    engine = sa.create_engine(moodle_dump_mariadb)

    existing = set(sa.inspect(engine).get_table_names())

    @cache
    def read(name):
        if f"mdl_{name}" not in existing:
            return {}
        with engine.connect() as connection:
            rows = connection.execute(sa.text(f"SELECT * FROM mdl_{name}")).mappings()
            return {row["id"]: row for row in rows}

    yield read
    engine.dispose()


@pytest.fixture(scope="module")
def copy(moodle_dump_mariadb, tmp_path_factory):
    """The site as an SQLite file."""
    path = tmp_path_factory.mktemp("moodle") / "moodle.sqlite"
    moodle_copy.copy_to_sqlite(moodle_dump_mariadb, path)
    return path


def _number(value):
    return None if value is None else float(value)


def rows_of(real):
    return [row for rows in real.values() for row in rows]


def is_found(record):
    """Whether a record is there, and not only what earlier rows of the log tell."""
    return record is not None and "table" in record


def test_every_object_table_is_a_kind_or_an_activity():
    known = {*LOADERS, *MODULES, "course_modules"}
    assert [row["objecttable"] for row in moodle_copy.object_tables()] == [
        row["objecttable"] for row in moodle_copy.object_tables() if row["objecttable"] in known
    ]


def test_whatever_still_exists_is_found(real, table):
    lost = []
    for row in rows_of(real):
        kind = row["objecttable"]
        if kind not in TABLES or row["eventname"] in EVENT_LOADERS or not row["objectid"]:
            continue
        exists = row["objectid"] in table(kind)
        if exists is not is_found(row["object"]):
            lost.append((row["eventname"], kind, row["objectid"]))
        assert exists is (f"{kind}:{row['objectid']}" not in (row["unresolved"] or []))
    assert lost == []


def test_values_are_those_of_the_tables(real, table):
    compared = 0
    for row in rows_of(real):
        found, kind = row["object"], row["objecttable"]
        if not is_found(found) or kind not in TABLES or row["eventname"] in EVENT_LOADERS:
            continue
        assert next(iter(found)) == "table"
        of, stored = TABLES[kind], table(kind)[found["id"]]
        assert found["table"] == kind
        assert found.get("name") == (stored[of.name] if of.name else None)
        for column in of.columns:
            value = stored.get(column)
            assert found[column] == (float(value) if hasattr(value, "quantize") else value)
            compared += 1
    assert compared > 4000


# What lies behind each special kind: the reference of a row, and the table that decides whether
# something can be found.
SPECIAL = {
    "mod_assign\\submission_graded": ("assign_grades", "objectid"),
    "mod_assign\\feedback_viewed": ("assign_grades", "objectid"),
    "mod_assign\\assessable_submitted": ("assign_submission", "objectid"),
    "assignsubmission_file\\submission_created": ("assign_submission", "submissionid"),
    "assignsubmission_onlinetext\\submission_updated": ("assign_submission", "submissionid"),
    "assignsubmission_onlinetext\\assessable_uploaded": ("assign_submission", "objectid"),
    "mod_quiz\\attempt_viewed": ("quiz_attempts", "objectid"),
    "mod_quiz\\attempt_submitted": ("quiz_attempts", "objectid"),
    "mod_quiz\\attempt_regraded": ("quiz_attempts", "objectid"),
    "mod_quiz\\question_manually_graded": ("quiz_attempts", "attemptid"),
    "mod_lesson\\lesson_started": ("lesson", "objectid"),
    "mod_lesson\\lesson_ended": ("lesson", "objectid"),
    "mod_lesson\\question_answered": ("lesson_pages", "objectid"),
    "mod_lesson\\question_viewed": ("lesson_pages", "objectid"),
    "mod_lesson\\essay_assessed": ("lesson_attempts", "attemptid"),
    "mod_scorm\\scoreraw_submitted": ("scorm_attempt", "attemptid"),
    "mod_scorm\\status_submitted": ("scorm_attempt", "attemptid"),
    "mod_scorm\\sco_launched": ("scorm_scoes", "objectid"),
    "mod_feedback\\response_submitted": ("feedback_completed", "objectid"),
    "mod_choice\\answer_created": ("choice_options", "optionid"),
    "mod_forum\\discussion_created": ("forum_discussions", "objectid"),
    "mod_forum\\discussion_subscription_created": ("forum_discussions", "discussion"),
    "mod_workshop\\submission_created": ("workshop_submissions", "objectid"),
    "mod_workshop\\submission_assessed": ("workshop_assessments", "objectid"),
    "core\\message_sent": ("messages", "objectid"),
    "core\\message_viewed": ("messages", "messageid"),
    "core\\message_deleted": ("messages", "messageid"),
    "core\\tag_added": ("tag_instance", "objectid"),
    "core\\blog_entry_created": ("post", "objectid"),
    "core\\note_created": ("post", "objectid"),
    "core\\badge_awarded": ("badge", "objectid"),
    "core\\badge_viewed": ("badge", "badgeid"),
    "core\\competency_user_competency_rated": ("competency_usercomp", "objectid"),
    "core\\competency_user_competency_rated_in_plan": ("competency_usercomp", "objectid"),
    "core\\competency_user_competency_rated_in_course": ("competency_usercompcourse", "objectid"),
    "core\\question_created": ("question", "objectid"),
    "core\\user_loggedin": ("user", "objectid"),
    "core\\user_enrolment_created": ("user_enrolments", "objectid"),
    "core\\capability_assigned": ("role", "objectid"),
    "tool_policy\\acceptance_created": ("tool_policy_acceptances", "objectid"),
}


@pytest.mark.parametrize("event", SPECIAL)
def test_every_special_kind_is_found_where_it_exists(event, real, table):
    name, reference = SPECIAL[event]
    rows = real[event]
    assert rows
    for row in rows:
        id_ = row["objectid"] if reference == "objectid" else (row["other"] or {}).get(reference)
        id_ = id_ if isinstance(id_, int) or id_ is None else int(id_)
        assert is_found(row["object"]) is (id_ in table(name)), row
        if row["object"] is None:
            # What an anonymous row refers to would tell whose row it is.
            named = f"{name}:{id_}" in (row["unresolved"] or ())
            assert named is not bool(row["anonymous"]), row


def test_a_submitted_attempt_has_every_question_with_its_response_as_it_was_then(real, table):
    by_usage = defaultdict(list)
    for question in table("question_attempts").values():
        by_usage[question["questionusageid"]].append(question)
    steps = defaultdict(list)
    for step in table("question_attempt_steps").values():
        steps[step["questionattemptid"]].append(step)
    items = 0
    for row in real["mod_quiz\\attempt_submitted"]:
        if row["object"] is None:
            continue
        attempt = table("quiz_attempts")[row["objectid"]]
        asked = [
            question
            for question in by_usage[attempt["uniqueid"]]
            if table("question")[question["questionid"]]["qtype"] != "description"
        ]
        found = row["object"]["items"]
        assert [item["slot"] for item in found] == sorted(question["slot"] for question in asked)
        for item in found:
            stored = table("question_attempts")[item["id"]]
            known = [s for s in steps[item["id"]] if s["timecreated"] <= row["timecreated"]]
            last = max(known, key=lambda step: step["sequencenumber"])
            assert (item["questionid"], item["responsesummary"], item["maxmark"]) == (
                stored["questionid"],
                stored["responsesummary"],
                float(stored["maxmark"]),
            )
            assert item["state"] == last["state"]
            assert item["fraction"] == (
                None if last["fraction"] is None else float(last["fraction"])
            )
            assert not item["state"].startswith("mangr")
            responses = [s["timecreated"] for s in known if s["state"] in ("complete", "invalid")]
            assert item["timecreated"] == (max(responses) if responses else None)
            assert item["version"] >= 1
            items += 1
    assert items > 400


def test_a_quiz_grade_is_that_of_the_time(real, table):
    """Where nothing changed since, the sum of the steps is what Moodle itself has."""
    for event in ("attempt_submitted", "attempt_regraded"):
        for row in real[f"mod_quiz\\{event}"]:
            attempt = row["object"]
            if attempt is None:
                continue
            stored = table("quiz_attempts")[attempt["id"]]
            if stored["timemodified"] <= row["timecreated"] and attempt["timefinish"]:
                assert attempt["sumgrades"] == _number(stored["sumgrades"])
            if any(item["state"] == "needsgrading" for item in attempt.get("items", [])):
                assert attempt["sumgrades"] is None


def test_a_manual_grade_is_the_newest_of_its_time(real, table):
    graded = 0
    for row in real["mod_quiz\\question_manually_graded"]:
        found = row["object"]
        if found is None:
            continue
        assert found["questionid"] == row["objectid"]
        assert found["slot"] == int(row["other"]["slot"])
        assert found["attempt"]["id"] == int(row["other"]["attemptid"])
        given = [
            (step["sequencenumber"], float(step["fraction"]))
            for step in table("question_attempt_steps").values()
            if step["questionattemptid"] == found["id"]
            and step["state"].startswith(("graded", "mangr"))
            and step["timecreated"] <= row["timecreated"]
        ]
        assert found["fraction"] == (max(given)[1] if given else None)
        graded += bool(given)
    assert graded > 50


def test_the_number_of_a_lesson_attempt_is_that_of_its_answers(real, table):
    compared = 0
    for event in ("lesson_started", "lesson_ended"):
        for row in real[f"mod_lesson\\{event}"]:
            if row["object"] is None or row["object"]["attempt"]["starttime"] is None:
                continue
            attempt = row["object"]["attempt"]
            answers = {
                answer["retry"]
                for answer in table("lesson_attempts").values()
                if (answer["lessonid"], answer["userid"]) == (row["objectid"], row["userid"])
                and attempt["starttime"] <= answer["timeseen"] <= attempt["starttime"] + 1000
            }
            if answers:
                assert answers == {attempt["retry"]}
                compared += 1
    assert compared > 40


def test_an_answer_in_a_lesson_is_the_one_given_then(real, table):
    for row in real["mod_lesson\\question_answered"]:
        if row["object"] is None:
            continue
        answer = row["object"]["answer"]
        stored = table("lesson_attempts")[answer["id"]]
        assert (stored["pageid"], stored["userid"]) == (row["objectid"], row["userid"])
        assert 0 <= row["timecreated"] - stored["timeseen"] <= 5
        if row["object"]["qtype"] in (2, 3):
            assert answer["response"] == table("lesson_answers")[stored["answerid"]]["answer"]
        assert ("useranswer" in answer) is (row["object"]["qtype"] in (1, 8))


def test_essays_have_their_score(real, table):
    scored = [row["object"] for row in real["mod_lesson\\essay_assessed"]]
    assert len(scored) == 9
    for essay in scored:
        assert essay["table"] == "lesson_attempts"
        assert essay["retry"] == table("lesson_attempts")[essay["id"]]["retry"]
        # None of the site's essays was given points.
        assert (essay["score"], essay["maxscore"]) == (None, 0)


def test_a_statement_has_the_attempt_with_its_score(real):
    found = [row for row in real["mod_h5pactivity\\statement_received"] if row["object"]]
    assert len(found) == 33
    for row in found:
        score = row["other"]["result"]["score"]
        assert row["object"]["userid"] == row["userid"]
        assert (row["object"]["rawscore"], row["object"]["maxscore"]) == (
            score["raw"],
            score["max"],
        )
        assert [result["rawscore"] for result in row["object"]["results"]] == [score["raw"]]
    gone = [row for row in real["mod_h5pactivity\\statement_received"] if not row["object"]]
    assert all(row["module"]["missing"] for row in gone)


def test_scorm_attempts_are_numbers_with_the_highest_score(real, table):
    for event in ("scoreraw_submitted", "status_submitted"):
        for row in real[f"mod_scorm\\{event}"]:
            if row["object"]:
                attempt = table("scorm_attempt")[int(row["other"]["attemptid"])]
                assert row["object"]["attempt"] == attempt["attempt"]
                assert row["object"]["scoremax"] == 100.0
                assert table("scorm_scoes")[row["object"]["scoid"]]["scorm"] == row["objectid"]
    deleted = real["mod_scorm\\attempt_deleted"]
    assert [row["object"]["attempt"] for row in deleted] == [
        row["other"]["attemptid"] for row in deleted
    ]


def test_the_first_launch_of_an_attempt_is_the_first_in_the_log(real):
    launched = set()
    for row in sorted(
        real["mod_scorm\\sco_launched"], key=lambda row: (row["timecreated"], row["id"])
    ):
        if row["object"]:
            attempt = (row["contextinstanceid"], row["userid"], row["object"]["attempt"])
            assert row["object"]["first"] is (attempt not in launched)
            launched.add(attempt)
    assert len(launched) == 55


def test_questionnaires_have_their_answers(real, table):
    values = defaultdict(dict)
    for value in table("feedback_value").values():
        values[value["completed"]][value["item"]] = value["value"]
    for row in real["mod_feedback\\response_submitted"]:
        if row["object"]:
            items = row["object"]["items"]
            assert {item["id"]: item["value"] for item in items} == values[row["objectid"]]
            assert [item["position"] for item in items] == sorted(i["position"] for i in items)
            assert "userid" not in row["object"]
    for row in real["mod_survey\\response_submitted"]:
        given = [
            answer
            for answer in table("survey_answers").values()
            if (answer["survey"], answer["userid"])
            == (int(row["other"]["surveyid"]), row["userid"])
        ]
        assert [item["id"] for item in (row["object"] or {"items": []})["items"]] == [
            answer["question"] for answer in given
        ]
    for row in real["mod_choice\\answer_created"]:
        if row["object"]:
            chosen = table("choice_options")[int(row["other"]["optionid"])]
            assert row["object"]["options"] == [chosen["text"]]


def test_ratings_are_words_of_the_scale(real, table):
    for event in ("rated", "rated_in_course", "rated_in_plan"):
        for row in real[f"core\\competency_user_competency_{event}"]:
            if row["object"] is None:
                continue
            competency = table("competency")[row["object"]["competencyid"]]
            framework = table("competency_framework")[competency["competencyframeworkid"]]
            scale = table("scale")[competency["scaleid"] or framework["scaleid"]]["scale"]
            expected = scale.split(",")[row["other"]["grade"] - 1].strip()
            assert row["object"]["scale_item"] == expected


def test_a_grade_tells_its_item_its_activity_and_its_attempt(real, table):
    attempts = {
        "assign": "assign_submission",
        "h5pactivity": "h5pactivity_attempts",
        "lesson": "lesson",
        "quiz": "quiz_attempts",
        "scorm": "scorm_attempt",
        "workshop": "workshop_submissions",
    }
    without = defaultdict(int)
    for row in real["core\\user_graded"]:
        found = row["object"]
        assert (found["id"], found["itemid"]) == (row["objectid"], int(row["other"]["itemid"]))
        item = found["item"]
        assert item["grademax"] == _grademax(table, item["id"], row["timecreated"])
        if item["itemtype"] != "mod":
            assert (found["module"], found.get("attempt")) == (None, None)
            continue
        if found["module"] is None:
            assert item["iteminstance"] not in table(item["itemmodule"])
            continue
        module = table("course_modules")[found["module"]["id"]]
        assert module["instance"] == item["iteminstance"]
        assert found["module"]["activity"]["id"] == item["iteminstance"]
        if found.get("attempt"):
            assert found["attempt"]["table"] == attempts[item["itemmodule"]]
            owner = found["attempt"].get("userid") or found["attempt"].get("authorid")
            assert owner in (None, row["relateduserid"])
        elif item["itemmodule"] in attempts:
            without[item["itemmodule"]] += 1
    # Deleted attempts that the log does not tell of, and a learner graded before the submission or
    # without a team; grades set by hand, and averages of lessons.
    assert dict(without) == {"quiz": 15, "assign": 5, "lesson": 25}


def _grademax(table, item, time):
    history = [
        (version["timemodified"], version["id"], float(version["grademax"]))
        for version in _versions(table)[item]
        if version["timemodified"] <= time
    ]
    return max(history)[2] if history else float(table("grade_items")[item]["grademax"])


@cache
def _versions(table):
    found = defaultdict(list)
    for version in table("grade_items_history").values():
        found[version["oldid"]].append(version)
    return found


def test_a_deleted_grade_has_its_item_and_the_row_that_told_it_last(real):
    graded = defaultdict(list)
    for row in real["core\\user_graded"]:
        graded[row["objectid"]].append(row["id"])
    rows = real["core\\grade_deleted"]
    assert len(rows) == 804
    for row in rows:
        assert row["object"]["item"]["id"] == int(row["other"]["itemid"])
        last = max(
            (earlier for earlier in graded[row["objectid"]] if earlier < row["id"]), default=None
        )
        assert row["object"].get("lastgraded") == last
        assert last or "attempt" not in row["object"]
    assert len({row["object"].get("lastgraded") for row in rows}) > 1


def test_a_final_grade_that_the_row_does_not_tell_comes_from_the_history(site, log, real):
    told = log.column("other").to_pylist()
    names = log.column("eventname").to_pylist()
    silent = [
        None if name == r"\core\event\user_graded" else text
        for name, text in zip(names, told, strict=True)
    ]
    position = log.column_names.index("other")
    without = log.set_column(position, "other", pa.array(silent, log.column("other").type))
    known = {row["id"]: row for row in real["core\\user_graded"] if row["unresolved"] is None}
    compared = 0
    chosen = without.filter(
        pa.compute.equal(
            without["eventname"].cast("string"), names[names.index(r"\core\event\user_graded")]
        )
    )
    for row in events(expand(site, chosen))["core\\user_graded"]:
        told = known.get(row["id"])
        if row["object"] and "finalgrade" in row["object"] and told:
            expected = told["other"]["finalgrade"]
            compared += 1
            given = row["object"]["finalgrade"]
            assert given == (None if expected is None else pytest.approx(float(expected), abs=1e-4))
    assert compared > 1000


def test_nothing_that_persons_wrote_is_read():
    written = {"content", "fullmessage", "smallmessage", "note", "message", "token", "uniquehash"}
    for of in TABLES.values():
        assert not written & {of.name, *of.columns}


def test_lifecycle_rows_and_rows_in_the_course_have_their_module(real):
    for event in ("created", "updated"):
        for row in real[f"core\\course_module_{event}"]:
            assert row["module"]["id"] == row["objectid"]
            assert row["module"]["modname"] == row["other"]["modulename"]
    # In the context of the course, as restored sites and old versions have it.
    for row in real["core\\course_module_deleted"]:
        if row["contextlevel"] != 70:
            assert row["module"]["id"] == row["objectid"]


def test_modules_that_are_gone_keep_the_name_of_their_kind(real):
    gone = [row["module"] for row in rows_of(real) if (row["module"] or {}).get("missing")]
    assert len(gone) > 3000
    assert all(module["modname"] for module in gone)
    unknown = [
        row
        for row in rows_of(real)
        if row["contextlevel"] == 70 and row["contextinstanceid"] > 0 and row["module"] is None
    ]
    assert unknown == []


def test_whose_roles_the_log_changed_has_those_that_it_proves(real, table):
    """Replayed roles against an independent replay, row by row."""
    shortnames = {id_: role["shortname"] for id_, role in table("role").items()}
    log = sorted(
        table("logstore_standard_log").values(), key=lambda row: (row["timecreated"], row["id"])
    )
    replayed = 0
    for row in rows_of(real):
        membership = row["relateduser_membership"]
        if not membership or "replayed" not in membership:
            continue
        if row["eventname"] not in (
            r"\core\event\role_unassigned", r"\mod_assign\event\submission_graded"
        ):  # fmt: skip
            continue
        held = set()
        for change in log:
            if (change["relateduserid"], change["courseid"]) != (
                row["relateduserid"],
                row["courseid"],
            ):
                continue
            if change["timecreated"] > row["timecreated"]:
                break
            if change["eventname"] == r"\core\event\role_assigned":
                held.add(change["objectid"])
            if (
                change["eventname"] == r"\core\event\role_unassigned"
                and change["timecreated"] < row["timecreated"]
            ):
                held.discard(change["objectid"])
        assert {role["shortname"] for role in membership["roles"]} == {
            shortnames[id_] for id_ in held if id_ in shortnames
        }
        replayed += 1
    assert replayed > 200


def test_statements_do_not_grow_with_rows(moodle_dump_mariadb, log):
    counts = []
    for rows in (log, pa.concat_tables([log] * 3).unify_dictionaries()):
        with MoodleDatabase.open(moodle_dump_mariadb) as database:
            expand(database, rows)
            counts.append(database.statements)
    assert counts[0] == counts[1] < 300


def test_an_hour_alone_and_all_hours_give_the_same(site, log, real):
    busiest = max(read_log(site, DUMP_HOURS), key=lambda part: part[1].num_rows)[1]
    alone = {row["id"]: row for rows in events(expand(site, busiest)).values() for row in rows}
    together = {row["id"]: row for row in rows_of(real) if row["id"] in alone}
    assert alone == together


def expanded_copy(path):
    with moodle_copy.open_copy(path) as database:
        return events(expand(database, whole_log(database)))


def test_sqlite_gives_the_same_as_the_server(copy, real):
    found = expanded_copy(copy)
    for event in real:
        for ours, theirs in zip(found[event], real[event], strict=True):
            assert ours == theirs


def test_postgresql_gives_the_same(moodle_dump_postgres, real):
    with MoodleDatabase.open(moodle_dump_postgres) as database:
        found = events(expand(database, whole_log(database)))
    for event in real:
        for ours, theirs in zip(found[event], real[event], strict=True):
            assert ours == theirs


@pytest.mark.parametrize("version", moodle_copy.OLDER)
def test_older_versions_are_expanded(version, copy, real, tmp_path):
    path = tmp_path / "moodle.sqlite"
    shutil.copy(copy, path)
    moodle_copy.make_older(path, version)
    found = expanded_copy(path)
    assert sum(map(len, found.values())) == len(rows_of(real))
    attempts = found["mod_scorm\\scoreraw_submitted"]
    assert {row["object"]["attempt"] for row in attempts} == {1}
    assert 100.0 in {row["object"]["scoremax"] for row in attempts}
    assert any(row["object"]["first"] for row in found["mod_scorm\\sco_launched"] if row["object"])
    absent = {
        row["objecttable"] for row in moodle_copy.object_tables() if row.get(f"in_{version}") == "0"
    }
    assert not any((row["object"] or {}).get("table") in absent for row in rows_of(found))
    if version in ("3.3", "2.9"):
        assert "version" not in next(
            row["object"] for row in found["core\\question_created"] if row["object"]
        )
        assert {row["object"]["table"] for row in found["core\\message_sent"]} == {"message"}
        assert all(
            "timestarted" in row["object"]
            for row in found["mod_assign\\assessable_submitted"]
            if row["object"]
        )


NAMES = sorted(
    {
        "assignid", "attemptid", "badgeid", "cmielement", "cmivalue", "discussion", "finalgrade",
        "grade", "instanceid", "itemid", "messageid", "modulename", "optionid", "policyversionid",
        "slot", "submissionid", "surveyid", "userenrolment",
    }
)  # fmt: skip
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.sampled_from(["1", "12", "-31337", "٣", "9" * 40, "cmi.core.score.raw"])
    | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    ),
    max_leaves=6,
)
ANY_ROW = st.fixed_dictionaries(
    {
        "eventname": st.sampled_from([*EVENT_LOADERS, r"\core\event\user_graded", "", "\\x\\y"]),
        "objecttable": st.sampled_from([*LOADERS, *sorted(MODULES), "course_modules", None]),
        "component": st.sampled_from(["core", "mod_quiz", "mod_", "_", "", "quiz_grading"]),
        "objectid": st.sampled_from([None, -31337, 0, 1, 2, 5, 19, 2**62]),
        "userid": st.sampled_from([-20, -1, 0, 1, 2, 5, 14, 2**62]),
        "relateduserid": st.sampled_from([None, 0, 5, 14]),
        "contextlevel": st.sampled_from([10, 50, 70, 0]),
        "contextinstanceid": st.sampled_from([-1, 0, 1, 28, 61, 2**62]),
        "courseid": st.sampled_from([-1, 0, 1, 2, 99]),
        "anonymous": st.sampled_from([0, 1]),
        "other": (
            st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=8).map(json.dumps)
            | st.text(max_size=8)
        ),
    }
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(rows=st.lists(ANY_ROW, min_size=20, max_size=40))
def test_no_row_whatever_it_holds_stops_the_others(rows, copy, log):
    some = log.slice(20_000, len(rows))
    for name in rows[0]:
        values = pa.array([row[name] for row in rows])
        field = log.schema.field(name)
        some = some.set_column(
            some.column_names.index(name), name, pa.chunked_array([_as(values, field.type)])
        )
    with moodle_copy.open_copy(copy) as database:
        assert expand(database, some).num_rows == len(rows)


def _as(values, kind):
    if pa.types.is_dictionary(kind):
        return values.cast(kind.value_type).dictionary_encode()
    return values.cast(kind)


def test_no_table_and_no_column_is_needed(copy, tmp_path):
    """Every table but the log may be absent, or have nothing but its keys."""
    with closing(sqlite3.connect(copy)) as site:
        tables = [
            name
            for (name,) in site.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if name != "mdl_logstore_standard_log"
        ]
    keys = (
        "assign", "assignment", "completed", "course", "element", "feedback", "instance", "item",
        "itemmodule", "itemtype", "itemnumber", "module", "question", "quiz", "scorm", "survey",
    )  # fmt: skip
    counts = set()
    for keep in ((), keys):
        path = tmp_path / f"{len(keep)}.sqlite"
        shutil.copy(copy, path)
        with closing(sqlite3.connect(path)) as site:
            for name in tables:
                columns = [row[1] for row in site.execute(f"PRAGMA table_info({name})")]
                kept = ", ".join(f'"{column}"' for column in columns if _is_kept(column, keep))
                site.execute(f"ALTER TABLE {name} RENAME TO whole")
                site.execute(f"CREATE TABLE {name} AS SELECT {kept} FROM whole")
                site.execute("DROP TABLE whole")
            site.commit()
        counts.add(sum(map(len, expanded_copy(path).values())))
    assert counts == {31_101}


def _is_kept(column, keep):
    return column == "id" or column in keep or (bool(keep) and column.endswith("id"))

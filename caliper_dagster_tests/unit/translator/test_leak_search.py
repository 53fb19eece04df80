"""The leak check: what it finds wherever it stands and however it is written, and what it leaves.

Each leak is planted into a text that leaves by a setting or a recipe of the site.
"""

from __future__ import annotations

import html
import json
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from caliper_dagster.translator import Translator
from caliper_dagster.translator.leak_search import Leak
from caliper_dagster_tests.unit.translator.support import (
    ADA,
    MATHS,
    RECIPES,
    TIME,
    W,
    expanded,
    member,
)

RECIPE = r"""
- events: [\local_notes\event\note_sent]
  pattern: notes
  type: Event
  action: Used
  object: {type: Document, path: "local/notes/view.php?q={other.topic}#note-{objectid}"}
  other: [note, mode]
"""
SITE_RECIPES = RECIPES.with_user_recipes([("own.yaml", RECIPE)])

LOVELACE = {
    **ADA, "firstname": "Ada", "lastname": "Lovelace", "username": "lovelace.a",
    "email": "ada.lovelace@uni.example", "idnumber": "S-1815-12",
}  # fmt: skip
MULLER = {
    **ADA, "id": 5, "firstname": "Zoë", "lastname": "Müller-Strauß", "username": "zms",
    "email": "zoe@uni.example", "idnumber": "4711123",
}  # fmt: skip
KIM = {
    **ADA,
    "id": 6,
    "firstname": "철수",
    "lastname": "김",
    "username": "kim.c",
    "email": "k@x.kr",
}
TANAKA = {
    **ADA,
    "id": 7,
    "firstname": "太郎",
    "lastname": "田中",
    "username": "tt",
    "email": "t@x.jp",
}
IRISH = {**ADA, "id": 8, "firstname": "Seán", "lastname": 'O\'Neil "Jo" & Co', "username": "so"}
TURK = {
    **ADA,
    "id": 9,
    "firstname": "İbrahim",
    "lastname": "I\u015f\u0131k",
    "username": "ii",
    "idnumber": "",
}
SHORT = {**ADA, "id": 10, "firstname": "Li", "lastname": "S", "username": "x", "idnumber": ""}

Row = dict[str, Any]

TEXTS = frozenset({"institutional", "shared", "personal"})


def note(text: str) -> Row:
    """A text under a key that the recipe of the site allows."""
    return {
        "eventname": r"\local_notes\event\note_sent", "component": "local_notes", "target": "note",
        "action": "sent", "objecttable": "local_notes", "objectid": 4, "other": {"note": text},
    }  # fmt: skip


def group(text: str) -> Row:
    """The name of a group."""
    return {
        "eventname": r"\core\event\group_created", "target": "group", "action": "created",
        "crud": "c", "objecttable": "groups", "objectid": 8,
        "object": {"table": "groups", "id": 8, "courseid": 2, "name": text, "idnumber": ""},
    }  # fmt: skip


def concept(text: str) -> Row:
    """A concept of a glossary."""
    return {
        "eventname": r"\mod_glossary\event\entry_created", "component": "mod_glossary",
        "target": "entry", "action": "created", "crud": "c", "objecttable": "glossary_entries",
        "objectid": 3, "contextlevel": 70, "contextinstanceid": 12,
        "object": {"table": "glossary_entries", "id": 3, "name": text, "glossaryid": 1},
    }  # fmt: skip


def search(text: str) -> Row:
    """Terms of a search."""
    return {
        "eventname": r"\mod_forum\event\course_searched", "component": "mod_forum",
        "target": "course", "action": "searched", "other": {"searchterm": text},
    }  # fmt: skip


def discussion(text: str) -> Row:
    """The title of a discussion."""
    return {
        "eventname": r"\mod_forum\event\discussion_created", "component": "mod_forum",
        "target": "discussion", "action": "created", "crud": "c", "contextlevel": 70,
        "contextinstanceid": 12, "objecttable": "forum_discussions", "objectid": 6,
        "object": {"table": "forum_discussions", "id": 6, "name": text, "userid": 3},
    }  # fmt: skip


def leaks(*rows: Mapping[str, Any], **options: Any) -> list[Leak]:
    """The leaks of rows, when texts of persons leave."""
    settings = {"recipes": SITE_RECIPES, "texts": TEXTS, **options}
    numbered = [{**row, "id": number} for number, row in enumerate(rows, 1)]
    return Translator(W, **settings).translate_and_search(expanded(*numbered))[1]


def fields(*rows: Mapping[str, Any], **options: Any) -> set[tuple[str, str]]:
    return {(leak.field, leak.kind) for leak in leaks(*rows, **options)}


def of(person: Row, row: Row) -> Row:
    """The row, by a person."""
    membership = member(person["id"])
    return {**row, "userid": person["id"], "user": person, "user_membership": membership}


def json_escaped(text: str) -> str:
    return json.dumps(text)[1:-1].replace("/", r"\/")


def twice_quoted(text: str) -> str:
    return quote(quote(text))


def html_hex(text: str) -> str:
    return "".join(f"&#x{ord(one):x};" for one in text)


def html_numbers(text: str) -> str:
    return "".join(f"&#{ord(one)};" for one in text)


def decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def wide(text: str) -> str:
    return "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in text)


OTHER, NAME = "extensions.moodle.other.note", "object.name"
TERMS = "generated.query.searchTerms"


PLANTED: list[tuple[Row, Callable[[str], Row], str, str, str]] = [
    (LOVELACE, note, "Ada Lovelace", OTHER, "name"),
    (LOVELACE, note, "for Lovelace, Ada: well done", OTHER, "name"),
    (LOVELACE, note, "lovelace", OTHER, "name"),
    (LOVELACE, note, "write to ada.lovelace@uni.example", OTHER, "email"),
    (LOVELACE, note, "ADA.LOVELACE@UNI.EXAMPLE", OTHER, "email"),
    (LOVELACE, note, "(lovelace.a)", OTHER, "username"),
    (LOVELACE, note, "matriculation S-1815-12.", OTHER, "idnumber"),
    (LOVELACE, note, "from 192.0.2.1:443", OTHER, "ip"),
    (LOVELACE, note, "Lovelace_thesis.pdf", OTHER, "name"),
    (LOVELACE, group, "Group of Ada Lovelace", NAME, "name"),
    (LOVELACE, group, "Maths S-1815-12", NAME, "idnumber"),
    (LOVELACE, concept, "Lovelace", NAME, "name"),
    (LOVELACE, search, quote_plus("Ada Lovelace"), TERMS, "name"),
    (LOVELACE, discussion, "Re: Dear Ada Lovelace", NAME, "name"),
    (MULLER, note, "MÜLLER-STRAUSS", OTHER, "name"),
    (MULLER, note, json_escaped("Zoë Müller-Strauß"), OTHER, "name"),
    (MULLER, note, quote("Zoë Müller-Strauß"), OTHER, "name"),
    (MULLER, note, twice_quoted("Müller-Strauß"), OTHER, "name"),
    (MULLER, group, html_hex("Zoë Müller-Strauß"), NAME, "name"),
    (MULLER, note, html_numbers("Müller-Strauß"), OTHER, "name"),
    (MULLER, concept, decomposed("Müller-Strauß"), NAME, "name"),
    (MULLER, discussion, wide("Zoe 4711123"), NAME, "idnumber"),
    (KIM, note, "김", OTHER, "name"),
    (KIM, concept, "김철수의 글", NAME, "name"),
    (TANAKA, group, "田中", NAME, "name"),
    (TANAKA, note, "田中 太郎", OTHER, "name"),
    (TANAKA, discussion, "田中太郎のレポート", NAME, "name"),
    (IRISH, note, html.escape('Seán O\'Neil "Jo" & Co'), OTHER, "name"),
    (IRISH, group, json_escaped(json_escaped('O\'Neil "Jo" & Co')), NAME, "name"),
    (TURK, note, "IBRAHIM I\u015eIK", OTHER, "name"),
    (TURK, concept, "ibrahim", NAME, "name"),
    (SHORT, note, "by Li S", OTHER, "name"),
    (SHORT, search, "S Li", TERMS, "name"),
]


@pytest.mark.parametrize(("person", "planted", "text", "field", "kind"), PLANTED)
def test_a_planted_leak_is_found_and_its_field_named(
    person: Row, planted: Callable[[str], Row], text: str, field: str, kind: str
) -> None:
    found = leaks(of(person, planted(text)))
    assert (field, kind) in {(leak.field, leak.kind) for leak in found}, found
    assert {leak.hour for leak in found} == {TIME // 3600}
    assert text not in str(found)


def test_the_persons_are_those_who_act_are_affected_or_stand_in_a_record() -> None:
    text = note("thanks to Zoë Müller-Strauß")
    assert not fields(text)
    assert fields(text | {"relateduserid": 5, "relateduser": MULLER}) == {(OTHER, "name")}
    assert fields(text | {"realuserid": 5, "realuser": MULLER}) == {(OTHER, "name")}
    seen = {
        "eventname": r"\core\event\user_updated", "objecttable": "user", "objectid": 5,
        "object": {**MULLER, "table": "user"},
    }  # fmt: skip
    assert fields(text, seen) == {(OTHER, "name")}


def test_a_deleted_users_row_tells_the_names_that_moodle_no_longer_has() -> None:
    gone = {
        "eventname": r"\core\event\user_deleted", "objecttable": "user", "objectid": 5,
        "other": {"username": "babbage.c", "email": "cb@uni.example", "idnumber": "77-AB-1"},
    }  # fmt: skip
    assert fields(note("Babbage.C, cb@uni.example"), gone) == {
        (OTHER, "username"),
        (OTHER, "email"),
    }


def test_only_the_hour_whose_person_it_is_is_withheld() -> None:
    """The same text in the next hour, in which the person does not occur, is no leak."""
    text = note("Zoë Müller-Strauß")
    later = {**text, "timecreated": TIME + 3600}
    found = leaks(of(MULLER, {}), text, later)
    assert [(leak.hour, leak.field, leak.events) for leak in found] == [(TIME // 3600, OTHER, 1)]


def test_what_the_profile_lets_leave_is_no_leak() -> None:
    full: dict[str, Any] = {
        "person_names": True,
        "person_identifiers": ("SystemId", "AccountUserName", "SisSourcedId", "EmailAddress"),
        "ip_addresses": True,
    }
    texts = "Ada Lovelace, lovelace.a, ada.lovelace@uni.example, S-1815-12, 192.0.2.1"
    row = of(LOVELACE, note(texts))
    assert fields(row) == {
        (OTHER, kind) for kind in ("name", "username", "email", "idnumber", "ip")
    }
    assert not fields(row, **full)
    assert fields(row, **{**full, "person_names": False}) == {(OTHER, "name")}


def test_a_name_that_leaves_is_no_leak_of_the_user_name_that_it_is_too() -> None:
    person = {**LOVELACE, "username": "ada", "idnumber": "", "email": ""}
    assert not fields(of(person, note("Ada")), person_names=True)


def test_a_field_that_the_site_allows_is_not_searched() -> None:
    row = of(LOVELACE, note("Ada Lovelace"))
    assert not fields(row, allowed_fields=(OTHER,))
    assert fields(row, allowed_fields=(NAME,)) == {(OTHER, "name")}


COMMON = ("Will", "Li", "S", "admin", "quiz", "2", "view", "course", "p13", " ", "Maths", "user")


def test_people_with_the_names_of_words_are_no_false_alarm() -> None:
    """Courses, activities and addresses hold the same words."""
    people = [
        {**ADA, "id": 20 + number, "firstname": one, "lastname": two, "username": one.lower()}
        | {"idnumber": two, "email": f"{one}@{two}"}
        for number, (one, two) in enumerate(zip(COMMON, reversed(COMMON), strict=True))
    ]
    course = {**MATHS, "fullname": "Will S admin quiz 2", "shortname": "Li 2", "idnumber": "S"}
    module = {
        "id": 12, "instance": 2, "modname": "quiz", "course": 2,
        "activity": {"id": 2, "name": "quiz view by Will Li", "course": 2},
    }  # fmt: skip
    viewed = {
        "eventname": r"\mod_quiz\event\course_module_viewed", "component": "mod_quiz",
        "target": "course_module", "objecttable": "quiz", "objectid": 2, "contextlevel": 70,
        "contextinstanceid": 12, "module": module, "course": course,
    }  # fmt: skip
    rows = [of(person, row) for person in people for row in ({"course": course}, viewed)]
    assert not leaks(*rows)
    post = {
        "eventname": r"\mod_forum\event\post_created", "component": "mod_forum", "target": "post",
        "objecttable": "forum_posts", "objectid": 13, "contextlevel": 70, "contextinstanceid": 12,
        "object": {"table": "forum_posts", "id": 13, "discussion": 2, "subject": "Hello"},
    }  # fmt: skip
    assert not leaks(*(of(person, post) for person in people))


def test_the_address_of_the_site_is_no_persons_address() -> None:
    row = {**of(LOVELACE, note("see 192.0.2.1/mod")), "ip": "192.0.2.1"}
    translator = Translator("http://192.0.2.1", recipes=SITE_RECIPES)
    assert not translator.translate_and_search(expanded(row))[1]
    other = Translator("http://192.0.2.7", recipes=SITE_RECIPES)
    assert other.translate_and_search(expanded(row))[1]


def test_a_backslash_and_a_u_of_a_class_name_are_no_escape() -> None:
    assert not fields(of(LOVELACE, note(r"\core\event\user_loggedin \ude")))


def test_equal_shapes_with_another_text_are_not_passed_over() -> None:
    """Thousands of notes differ in their numbers only; one of them holds a name."""
    rows = [of(LOVELACE, note(f"page {number}")) for number in range(60)]
    rows[41] = of(LOVELACE, note("page Lovelace 41"))
    rows[52] = of(LOVELACE, group("S-1815-12"))
    assert fields(*rows) == {(OTHER, "name"), (NAME, "idnumber")}
    numbered = [of(MULLER, group(f"Group {number}")) for number in range(60)]
    numbered[33] = of(MULLER, group("Group 4711123"))
    assert fields(*numbered) == {(NAME, "idnumber")}


@pytest.mark.parametrize("base", [None, "https://pseudonyms.example/p/"])
@pytest.mark.parametrize("profile", ["pseudonymous", "anonymous"])
def test_events_with_keyed_ids_are_searched_too(profile: str, base: str | None) -> None:
    keyed = {
        "profile": profile,
        "key": b"k" * 32,
        "pseudonym_base": base,
        "texts": TEXTS - {"personal"},
    }
    assert fields(of(LOVELACE, group("S-1815-12")), **keyed) <= {(NAME, "idnumber")}
    assert not fields(*(of(LOVELACE, {}) for _ in range(3)), **keyed)

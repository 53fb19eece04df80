"""Moodle's roles as roles of a Caliper membership (mapping, section 8)."""

from __future__ import annotations

import pytest

from caliper_dagster.translator.roles import caliper_roles


def roles(*found: tuple[str, str | None], **more: int) -> list[str]:
    return caliper_roles(
        {"roles": [{"shortname": name, "archetype": kind} for name, kind in found], **more}
    )


@pytest.mark.parametrize(
    ("archetype", "expected"),
    [
        ("student", ["Learner"]),
        ("editingteacher", ["Instructor"]),
        ("teacher", ["Instructor", "Instructor#TeachingAssistant"]),
        ("manager", ["Administrator"]),
        ("coursecreator", ["ContentDeveloper"]),
        ("guest", ["Learner", "Learner#GuestLearner"]),
        ("user", ["Member"]),
        ("frontpage", ["Member"]),
    ],
)
def test_the_archetype_decides(archetype, expected):
    assert roles(("whatever", archetype)) == expected


def test_without_an_archetype_the_short_name_of_a_standard_role_decides():
    assert roles(("teacher", "")) == ["Instructor", "Instructor#TeachingAssistant"]
    assert roles(("student", None)) == ["Learner"]
    assert roles(("librarian", "")) == ["Member"]


def test_all_roles_are_kept_and_none_twice():
    found = roles(("tutor", "teacher"), ("editingteacher", "editingteacher"), ("s", "student"))
    assert found == ["Instructor", "Instructor#TeachingAssistant", "Learner"]


def test_a_site_administrator_is_one_in_addition():
    assert roles(("student", "student"), siteadmin=1) == [
        "Learner", "Administrator", "Administrator#SystemAdministrator"
    ]  # fmt: skip
    assert roles(("manager", "manager"), siteadmin=1) == [
        "Administrator", "Administrator#SystemAdministrator"
    ]  # fmt: skip


def test_who_is_let_in_as_a_guest_is_a_guest_learner():
    assert roles(guest=1) == ["Learner", "Learner#GuestLearner"]


def test_nobody_is_without_a_role():
    assert roles() == ["Member"]

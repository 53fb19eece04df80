"""Two graders within seconds: each grading has the grade that its own grader gave."""

from __future__ import annotations

from caliper_dagster_tests.harness.handmade_site import NOW, Site

ADA, CLEO, DAN = 5, 6, 7
GRADED = r"\mod_assign\event\submission_graded"


def graded(grader: int, time: int) -> dict[str, object]:
    return {
        "eventname": GRADED, "component": "mod_assign", "objecttable": "assign_grades",
        "objectid": 90, "userid": grader, "relateduserid": ADA, "timecreated": time,
    }  # fmt: skip


def site_with_grades(site: Site, *gradings: tuple[int, int, float]) -> None:
    """Gradings as (grader, Unix time, grade); the table holds the last one."""
    site.add("grade_items", {"id": 81, "itemtype": "mod", "itemmodule": "assign", "itemnumber": 0,
                             "iteminstance": 71})  # fmt: skip
    for grader, time, value in gradings:
        site.add(
            "grade_grades_history",
            {
                "oldid": 1, "source": "mod/assign", "timemodified": time, "itemid": 81,
                "userid": ADA, "rawgrade": value, "rawgrademax": 100, "loggeduser": grader,
            },
        )  # fmt: skip
    grader, time, value = gradings[-1]
    site.add(
        "assign_grades",
        {"id": 90, "assignment": 71, "userid": ADA, "grader": grader, "grade": value,
         "timemodified": time},
    )  # fmt: skip


def test_the_first_row_is_written_after_the_second_grade(site: Site) -> None:
    site_with_grades(site, (CLEO, NOW, 50.0), (DAN, NOW + 1, 80.0))
    site.log(graded(CLEO, NOW + 1), graded(DAN, NOW + 2))

    assert [row["object"]["grade"] for row in site.expand()] == [50.0, 80.0]


def test_both_grade_in_the_same_second(site: Site) -> None:
    site_with_grades(site, (DAN, NOW, 80.0), (CLEO, NOW, 50.0))
    site.log(graded(CLEO, NOW), graded(DAN, NOW))

    assert [row["object"]["grade"] for row in site.expand()] == [50.0, 80.0]


def test_without_a_history_the_grade_of_the_first_is_not_known(site: Site) -> None:
    site_with_grades(site, (DAN, NOW, 80.0))
    site.execute("DELETE FROM mdl_grade_grades_history")
    site.log(graded(CLEO, NOW), graded(DAN, NOW))

    assert [row["object"].get("asof") for row in site.expand()] == ["export", None]

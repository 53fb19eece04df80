"""By table: the class of a record's name, and whether its id leads to a person.

For entities that no function of their own describes: those at a recipe's path, and those of events
that no recipe names. A name of a table that is not listed counts as personal.
"""

from __future__ import annotations

from caliper_dagster.core.privacy import TextClass
from caliper_dagster.translator.entities.activities import MODULE_TYPES
from caliper_dagster.translator.entities.registry import Record

_INSTITUTIONAL = frozenset(
    """
    adminpresets badge book_chapters competency competency_framework competency_template
    contentbank_content course course_categories course_modules course_sections customfield_category
    customfield_field data_fields enrol external_services feedback_item glossary_categories
    grade_items grade_letters lesson_pages payment_accounts question question_categories
    quiz_grade_items quiz_sections quizaccess_seb_template reportbuilder_report
    reportbuilder_schedule role scale tag_coll tool_monitor_rules tool_policy_acceptances
    tool_policy_versions tool_recyclebin_category tool_recyclebin_course tool_usertours_steps
    tool_usertours_tours user_info_category user_info_field
    """.split()
)

_SHARED = frozenset({"cohort", "glossary_entries", "groupings", "groups"})

_CALENDAR = frozenset({"event", "event_subscriptions"})
_OWN_EVENT = "user"
_GROUP_EVENT = "group"

_OF_ONE_PERSON = frozenset(
    """
    assign_grades assign_submission assignsubmission_file assignsubmission_onlinetext badge_issued
    blog_association blog_external chat_messages choice_answers comments competency_evidence
    competency_plan competency_usercomp competency_usercompcourse competency_usercompplan
    competency_userevidence course_completions course_modules_completion data_records event
    external_tokens feedback_completed forum_discussions forum_posts forum_subscriptions
    grade_grades h5pactivity_attempts lesson_attempts lesson_grades lesson_high_scores message
    messages message_contacts message_user_actions message_users_blocked notifications post
    quiz_attempts rating role_assignments scorm_attempt scorm_scoes_value sessions survey_answers
    tag_instance tool_policy_acceptances user user_enrolments user_lastaccess wiki_versions
    workshop_aggregations workshop_assessments workshop_submissions
    """.split()
)

INSTITUTIONAL_RECORDS = (
    (_INSTITUTIONAL | _SHARED | MODULE_TYPES.keys()) - _OF_ONE_PERSON - {"glossary_entries"}
)
"""Tables whose records the institution or a group has, so that no id of theirs leads to a person.
An entry of a glossary is shared to read, but one person wrote it."""

INSTITUTIONAL_LEVELS = (10, 40, 50, 70)
"""Levels of contexts of the site, of categories, courses and activities. Those of users (30) and
blocks (80), which may be on a dashboard, belong to persons."""

INSTITUTIONAL_KEYS = frozenset(
    """
    assignid auto badgeid badgetype bookid categoryid chapterid choiceid cmid competencyid
    completionstate courseid coursemoduleid coursesectionnumber dataid feedbackid forumid
    frameworkid fromforumid glossaryid groupid groupingid h5pactivityid instanceid lessonid mode
    newcategoryid newquestionid oldcategoryid oldquestionid overridden policyversionid questionid
    quizid reportid reportmode roleid scoid scormid sectionid sectionnum slot slotid studentisonline
    submission_editable surveyid templateid toforumid tourid wikiid workshopid
    """.split()
)
"""Keys of ``other`` that hold ids, numbers and words of courses, activities and what they consist
of, so that no value of theirs leads to a person."""


NAMES_OF_PERSONS = frozenset({"loggedinasusername", "nickname", "originalusername"})
"""Keys of ``other`` that hold names of persons: sent where a recipe allows it and names leave."""


def class_of_name(record: Record) -> TextClass:
    """The class of the ``name`` of a record in the column ``object``.

    A calendar entry is private unless the record says that it is not: of a deleted one, nothing but
    its name may be known.
    """
    table = record.get("table")
    if table in _CALENDAR:
        return _class_of_entry(record)
    if table in _INSTITUTIONAL or table in MODULE_TYPES:
        return "institutional"
    return "shared" if table in _SHARED else "personal"


def _class_of_entry(record: Record) -> TextClass:
    kind = record.get("eventtype")
    if not kind or kind == _OWN_EVENT:
        return "private"
    return "shared" if kind == _GROUP_EVENT or record.get("groupid") else "institutional"

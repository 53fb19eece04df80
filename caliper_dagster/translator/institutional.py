"""Which IRIs of a site lead to no person: those of courses, activities and what they consist of.

A list of what is known, not of what is forbidden: an IRI that is not described here, such as that
of a plugin's own page, belongs to a person under the privacy profiles.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from caliper_dagster.caliper.vocabulary import TERM
from caliper_dagster.translator.entities.activities import MODULE_TYPES
from caliper_dagster.translator.entities.classification import INSTITUTIONAL_RECORDS
from caliper_dagster.translator.identity import OF_PERSON


def _scripts(text: str) -> Iterator[tuple[str, frozenset[str]]]:
    for line in text.split("\n"):
        script, *names = line.split()
        yield script, frozenset(names)


_SCRIPTS: Mapping[str, frozenset[str]] = dict(
    _scripts(
        """admin/roles/define.php action roleid
        admin/tool/admin_presets/index.php action mode id
        admin/tool/brickfield/index.php courseid
        admin/tool/capability/index.php
        admin/tool/lp/competencies.php competencyframeworkid
        admin/tool/lp/editcompetency.php id
        admin/tool/lp/templatecompetencies.php templateid
        admin/tool/policy/view.php versionid
        admin/tool/recyclebin/index.php contextid
        admin/tool/usertours/configure.php id
        badges/badge.php
        badges/criteria.php id
        badges/overview.php id
        badges/view.php type id
        blog/external_blogs.php
        cohort/assign.php id
        contentbank/view.php id
        course/index.php categoryid
        course/info.php id
        course/overview.php id
        course/recent.php id
        course/resources.php id
        course/section.php id
        course/view.php id section
        enrol/instances.php id
        grade/edit/letter/index.php id
        grade/edit/scale/edit.php id
        grade/edit/tree/item.php courseid id
        grade/export/*/index.php id
        grade/report/*/index.php id
        group/grouping.php id
        group/index.php id group
        h5p/embed.php
        mod/*/index.php id
        mod/*/view.php id
        mod/bigbluebuttonbn
        mod/book/view.php id chapterid
        mod/chat/report.php id
        mod/choice/report.php id
        mod/data/field.php d
        mod/data/templates.php d
        mod/forum/report/summary/index.php courseid forumid
        mod/forum/search.php id
        mod/forum/subscribers.php id
        mod/lesson/highscores.php id
        mod/lesson/view.php id pageid
        mod/lti/service.php
        mod/quiz/accessrule/seb/template.php
        mod/quiz/edit.php cmid
        mod/quiz/report.php id mode
        mod/scorm/player.php cm scoid
        mod/scorm/report.php id mode
        mod/survey/download.php id group
        mod/survey/report.php id
        my/
        my/courses.php
        question/bank/previewquestion/preview.php id
        question/edit.php
        report/completion/index.php course
        report/insights/insights.php modelid
        report/log/index.php id
        report/loglive/index.php id
        report/outline/index.php course
        report/participation/index.php id instanceid
        report/questioninstances/index.php qtype
        report/security/index.php
        report/stats/index.php id mode
        reportbuilder/edit.php id
        reportbuilder/view.php id
        tag/manage.php tc
        user/index.php id
        webservice"""
    ),
    **{"": frozenset()},
)
"""Scripts of Moodle, each with the parameters that lead to no person. The empty one is the site's
front page."""

_OF_PLUGINS = re.compile(r"(mod|grade/export|grade/report)/[a-z0-9_]+/(index|view)\.php")
_VALUE = re.compile(r"[0-9]+|[a-z_]{1,40}")

_NUMBERED = "|".join(
    sorted(
        {
            "audience", "badge", "category", "chapter", "enrol", "field", "gradeitem", "item",
            "schedule", "section", "slot", "step",
        }
        | (INSTITUTIONAL_RECORDS - MODULE_TYPES.keys())  # #feedback-5 is that on an assignment
    )
)  # fmt: skip
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_FRAGMENT = re.compile(
    rf"[a-z_/-]{{1,80}}|page-[a-z][a-z0-9_]*(?:-[a-z_]+)?|(?:{_NUMBERED})-[0-9]+|content-{_UUID}"
)
"""Words, a numbered part, or a part of H5P content."""

_WHOLE_FRAGMENTS: Mapping[str, re.Pattern[str]] = {
    **dict.fromkeys(
        (
            "admin/tool/recyclebin/index.php",
            "badges/criteria.php",
            "grade/edit/letter/index.php",
            "h5p/embed.php",
            "mod/quiz/accessrule/seb/template.php",
        ),
        re.compile("[0-9]+"),
    ),
    "webservice": re.compile("[a-z][a-z0-9_]{0,100}"),
}
"""Scripts whose fragment is the number of a record, or the name of a function."""

_HOST = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+/")


def is_institutional(iri: str, site: str) -> bool:
    """Whether an IRI leads to no person: a thing of the institution, a host, a Caliper term.

    Args:
        iri: an IRI of an entity.
        site: address of the site, without a slash at its end.
    """
    if iri.endswith(OF_PERSON):
        return False
    if iri == site or iri.startswith(TERM):
        return True
    if not iri.startswith(f"{site}/"):
        return _HOST.fullmatch(iri) is not None  # the tool that an LTI activity launches
    page, _, fragment = iri[len(site) + 1 :].partition("#")
    script, _, query = page.partition("?")
    if script not in _SCRIPTS:
        script = _OF_PLUGINS.sub(r"\1/*/\2.php", script)
    names = _SCRIPTS.get(script)
    if names is None or (query and not _are_known(query, names)):
        return False
    if not fragment or _FRAGMENT.fullmatch(fragment):
        return True
    whole = _WHOLE_FRAGMENTS.get(script)
    return whole is not None and whole.fullmatch(fragment) is not None


def _are_known(query: str, names: frozenset[str]) -> bool:
    for parameter in query.split("&"):
        name, _, value = parameter.partition("=")
        if name not in names or not _VALUE.fullmatch(value):
            return False
    return True

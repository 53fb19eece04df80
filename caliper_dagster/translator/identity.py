"""Ids: of events and sessions (UUID version 5 of the site and the log row) and of Moodle's things.

One IRI is one thing of one type everywhere. Entity ids are Moodle's own addresses, so that whoever
may can open them; where Moodle has no page of its own for a thing, a fragment tells it apart.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from caliper_dagster.translator.vocabulary import TERM

ANONYMOUS_PERSON = {"id": f"{TERM}Person", "type": "Person"}

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class Iris:
    """IRIs of one site.

    Args:
        wwwroot: the site's address as configured; a trailing slash is dropped.
    """

    def __init__(self, wwwroot: str) -> None:
        self.site = wwwroot.rstrip("/")
        self._namespace = uuid.uuid5(uuid.NAMESPACE_URL, self.site).bytes

    @property
    def organization(self) -> str:
        """The institution behind the site, another thing than the site and its front page."""
        return f"{self.site}/#organization"

    def user(self, user: int) -> str:
        """A person, by the profile page."""
        return f"{self.site}/user/profile.php?id={user}"

    def membership(self, user: int, course: int) -> str:
        """A person in a course: the course's page about the user."""
        return f"{self.site}/user/view.php?id={user}&course={course}"

    def course(self, course: int) -> str:
        """A course, as a CourseSection."""
        return f"{self.site}/course/view.php?id={course}"

    def course_page(self, course: int) -> str:
        """The page of a course, which is another thing than the course."""
        return f"{self.course(course)}#page"

    def course_section(self, course: int, number: int) -> str:
        """One section of a course's page."""
        return f"{self.course(course)}&section={number}"

    def group(self, course: int, group: int) -> str:
        """A group of learners."""
        return f"{self.site}/group/index.php?id={course}&group={group}"

    def activity(self, modname: str, module: int) -> str:
        """An activity, by course module id and never by instance."""
        return f"{self.site}/mod/{self.quoted(modname)}/view.php?id={module}"

    def agent(self, actor: int | None) -> str | None:
        """Who acted: a person by id, the site for 0, None for nobody who may be named."""
        if actor is None:
            return None
        return self.user(actor) if actor else self.site

    @staticmethod
    def placeholders(template: str) -> list[str]:
        """The values that a template names."""
        return _PLACEHOLDER.findall(template)

    def path(self, template: str, values: Mapping[str, object]) -> tuple[str, list[str]]:
        """An address below the site from a template such as ``mod/forum/user.php?id={objectid}``.

        A parameter or fragment whose value is not known is left out, as are empty ones.

        Returns:
            The address, and the names whose values were not known.
        """
        missing = [name for name in self.placeholders(template) if not _given(values.get(name))]
        head, mark, fragment = template.partition("#")
        base, _, query = head.partition("?")
        parameters = [_fill(part, values) for part in query.split("&") if part]
        kept = "&".join(part for part in parameters if part is not None)
        end = _fill(fragment, values) if mark else None
        address = (
            f"{self.site}/{_fill(base, values) or ''}"
            + (f"?{kept}" if kept else "")
            + (f"#{end}" if end else "")
        )
        return address, missing

    def quoted(self, text: str) -> str:
        """Text as part of an address."""
        return quote(text, safe="")

    def uuid(self, name: str) -> str:
        """A ``urn:uuid:`` of version 5 in the namespace of the site."""
        return _urn(hashlib.sha1(self._namespace + name.encode(), usedforsecurity=False).digest())

    def derived_event(self, log: int, time: int, child: str) -> str:
        """Id of an event derived from a row: ``child`` tells it apart, such as ``item:3``."""
        return self.uuid(f"logstore_standard_log:{log}:{time}:{child}")

    def events(self, logs: Iterable[int], times: Iterable[int]) -> list[str]:
        """Ids of primary events, from log id and time; the time guards against a truncated log."""
        namespace, sha1 = self._namespace, hashlib.sha1
        return [
            _urn(
                sha1(
                    namespace + b"logstore_standard_log:%d:%d" % row, usedforsecurity=False
                ).digest()
            )
            for row in zip(logs, times, strict=True)
        ]

    def session(self, login: int) -> str:
        """The session that a log-in (its log id) opened."""
        return self.uuid(f"session:{login}")


def _urn(digest: bytes) -> str:
    text = digest[:16].hex()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"urn:uuid:{text[:8]}-{text[8:12]}-5{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def _fill(part: str, values: Mapping[str, object]) -> str | None:
    names = _PLACEHOLDER.findall(part)
    if not all(_given(values.get(name)) for name in names):
        return None
    return _PLACEHOLDER.sub(lambda match: quote(str(values[match[1]]), safe=""), part)


def _given(value: object) -> bool:
    return value is not None and value != ""

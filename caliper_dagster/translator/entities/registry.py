"""The base of all entity functions: their arguments, helpers, and the registry for recipes."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

from caliper_dagster.caliper.entities import (
    Decimal,
    Duration,
    Entity,
    Person,
    Reference,
    SoftwareApplication,
    SystemIdentifier,
    Time,
)
from caliper_dagster.caliper.shapes import CANONICAL, Shape
from caliper_dagster.core.hours import LAST_TIME
from caliper_dagster.core.privacy import IDENTIFIED, TextClass
from caliper_dagster.translator.entities.texts import ClassOf, ClassOfText, withholding
from caliper_dagster.translator.identity import Iris
from caliper_dagster.translator.rows import parameters

Record = Mapping[str, Any]

Mark = int | str | None
"""What tells a log row from all others in an IRI: its id, or what the id is put in place of; None
in anonymous rows."""

E = TypeVar("E", bound=Entity)

FRONT_PAGE = 1
"""Course id of the front page, which is no course."""


@dataclass(frozen=True, slots=True)
class PersonOptions:
    """Data of a person that may be sent in addition to the id."""

    names: bool = False
    identifiers: tuple[str, ...] = ("SystemId",)


@dataclass(frozen=True, slots=True)
class Render:
    """The first argument of every entity function: the site's IRIs, and which data may be sent.

    Attributes:
        iris: makes ids.
        person: data of persons that may be sent.
        texts: classes of texts that may be sent. Of the names and identifiers of persons,
            ``person`` decides.
        course_categories: whether courses are sent as part of their category.
        shape: of the events.
    """

    iris: Iris
    person: PersonOptions = PersonOptions()
    texts: frozenset[TextClass] = IDENTIFIED.texts
    course_categories: bool = False
    shape: Shape = CANONICAL

    def reference(self, cls: type[E], iri: str) -> E | Reference:
        """An entity of which no more is told, as the shape has it: its IRI, or an object."""
        return cls(id=iri) if self.shape.by_object else Reference(iri)

    def site_reference(self) -> SoftwareApplication | Reference:
        """The site."""
        return self.reference(SoftwareApplication, self.iris.site)

    def agent_reference(self, actor: int | None) -> Person | SoftwareApplication | Reference | None:
        """The actor: a person by id, the site for 0, None for an anonymous person."""
        if actor is None:
            return None
        return self.reference(Person, self.iris.user(actor)) if actor else self.site_reference()


@dataclass(frozen=True, slots=True)
class EntityFunction:
    """A function that makes an entity, and the properties that all its entities share.

    Attributes:
        function: takes :class:`Render` and the columns; returns an entity, or None. The entity
            holds no text of a class that does not leave (:mod:`.texts`).
        columns: the columns that its parameters name.
        names_related_user: whether the entity names the related user of the row.
        tells_grade: whether it holds a grade, which may have changed since the event.
        personal_record: whether it belongs to one person, as an attempt does, so that its id leads
            to that person.
        texts: class of each text that the entity can hold, by the path of the property, such as
            ``assignable.name``.
    """

    function: Callable[..., Entity | None]
    columns: tuple[str, ...]
    names_related_user: bool = False
    tells_grade: bool = False
    personal_record: bool = False
    texts: Mapping[str, ClassOfText] = field(default_factory=dict)


ENTITY_FUNCTIONS: dict[str, EntityFunction] = {}
"""Functions that a recipe may name, by name."""

TRANSLATOR_FUNCTIONS: dict[str, EntityFunction] = {}
"""Functions that only the translator calls, by name: for actors, memberships and sessions."""

F = TypeVar("F", bound=Callable[..., Entity | None])


def for_recipes(
    *,
    names_related_user: bool = False,
    tells_grade: bool = False,
    personal_record: bool = False,
    texts: Mapping[str, ClassOfText] | None = None,
    class_of: ClassOf | None = None,
) -> Callable[[F], F]:
    """Register a function for recipes; see :class:`EntityFunction` for the arguments.

    Args:
        names_related_user: see there.
        tells_grade: see there.
        personal_record: see there.
        texts: see there.
        class_of: decides about the texts that are ``by_table``.

    Returns:
        A decorator; the function that it returns withholds texts.
    """

    def register(function: F) -> F:
        made = withholding(function, texts or {}, class_of)
        ENTITY_FUNCTIONS[function.__name__] = EntityFunction(
            made,
            parameters(function)[1:],
            names_related_user,
            tells_grade,
            personal_record,
            texts or {},
        )
        return made

    return register


def for_translator(
    *, personal_record: bool = False, texts: Mapping[str, ClassOfText] | None = None
) -> Callable[[F], F]:
    """Register a function that only the translator calls; see :class:`EntityFunction`."""

    def register(function: F) -> F:
        made = withholding(function, texts or {})
        TRANSLATOR_FUNCTIONS[function.__name__] = EntityFunction(
            made,
            parameters(function)[1:],
            personal_record=personal_record,
            texts=texts or {},
        )
        return made

    return register


def below(path: str, texts: Mapping[str, ClassOfText]) -> dict[str, ClassOfText]:
    """Classes of the texts of an entity that another one holds at a path."""
    return {f"{path}.{name}": kind for name, kind in texts.items()}


def time(seconds: float | None) -> Time | None:
    """A time in Caliper's form (UTC, milliseconds); None for Moodle's "no date", which is 0.

    None also for a number that is no time, such as one of milliseconds.
    """
    if not seconds or not 0 < seconds <= LAST_TIME:
        return None
    return _written(seconds)


@lru_cache(maxsize=20_000)
def _written(seconds: float) -> Time:
    return Time(datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"))


def duration(seconds: float | None) -> Duration | None:
    """A span of time in ISO 8601."""
    return Duration(f"PT{int(seconds)}S") if seconds is not None and seconds >= 0 else None


def text(record: Record | None, key: str) -> str | None:
    """A text of a record; None when it is missing or empty."""
    value: str | None = record.get(key) if record else None
    return value or None


def name_of(record: Record | None, key: str = "name") -> str | None:
    """A name or title of a record as plain text; None when it is missing or empty."""
    return plain(text(record, key))


_TAG = re.compile(
    r"<!--.*?-->|</?(?:a|abbr|acronym|b|bdi|bdo|big|br|center|cite|code|del|dfn|div|em|font|h[1-6]"
    r"|hr|i|img|ins|kbd|label|li|mark|nolink|ol|p|pre|q|rp|rt|ruby|s|samp|small|span|strike|strong"
    r"|sub|sup|table|tbody|td|th|thead|tr|tt|u|ul|var|wbr)"
    r"""(?:\s+[\w:-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+))*\s*/?>""",
    re.IGNORECASE | re.DOTALL,
)
_LINE_END = re.compile(r"<(?:br|hr|/p|/div|/h[1-6]|/li|/t[dhr])\b[^<>]*>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


def plain(text: str | None) -> str | None:
    """A name or title as plain text: Moodle lets them hold HTML, and stores some as HTML.

    Only tags of HTML are removed, so that ``List<String>`` stays.
    """
    if not isinstance(text, str) or ("<" not in text and "&" not in text):
        return text or None
    return _resolved(text)


@lru_cache(maxsize=20_000)
def _resolved(text: str) -> str | None:
    without_tags = _TAG.sub("", _LINE_END.sub(" ", text))
    resolved = _ENTITY.sub(lambda found: html.unescape(found[0]), without_tags)
    return resolved.replace("\xa0", " ").strip() or None


def identifiers(render: Render, **values: object) -> list[SystemIdentifier] | None:
    """``otherIdentifiers`` of a thing, by their types; None where it has none.

    Not for persons: what identifies them is for a setting to say.
    """
    return [
        SystemIdentifier(identifierType=kind, identifier=str(value), source=render.site_reference())
        for kind, value in values.items()
        if value is not None and value != ""
    ] or None


def of_other(other: object, key: str) -> Any:  # noqa: ANN401 - decoded JSON
    """A value of the decoded ``other``; None if it has no such key, or is not a map."""
    return other.get(key) if isinstance(other, dict) else None


_IN_IRIS = re.compile(
    r"-?[0-9]{1,10}|[a-z_]{1,100}|[a-z][a-z0-9]*(?:_[a-z0-9]+){1,20}"
    r"|[0-9a-f]{40}(?:-[0-9]{1,13})?|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
_LONGEST_IN_IRIS = 100
_LARGEST_GRADE = 10**10
_LARGEST_ID = 10**10


def in_iri(value: object) -> str | None:
    """A value of the event data as part of an IRI; None if text of a person may stand in it.

    That is an id, a word or a name of Moodle's such as ``mod_quiz``, a hash or a UUID. A longer
    number may be a telephone number.
    """
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or len(text) > _LONGEST_IN_IRIS or not _IN_IRIS.fullmatch(text):
        return None
    return text


def id_or(number: int | None, stand_in: Mark) -> str:
    """An id as part of an IRI; of a row without it, a name of that row alone.

    So what two rows do not name is never taken for one thing. Only anonymous rows, which must not
    lead to their log row, share a name.

    Args:
        number: the id; 0 is none.
        stand_in: ``stand_in`` or ``log_mark`` of the row.
    """
    if number:
        return str(number)
    return "unknown" if stand_in is None else f"of-row-{stand_in}"


def integer(value: object) -> int | None:
    """An id or a small number of the event data, which PHP often stores as text.

    A number of more than ten digits may be a telephone number.
    """
    number = user_id(value)
    return number if number is not None and abs(number) < _LARGEST_ID else None


def user_id(value: object) -> int | None:
    """The id of a user in the event data."""
    if type(value) is int:
        return value
    try:
        return int(str(value)) if value is not None and not isinstance(value, bool) else None
    except ValueError:
        return None


def decimal(value: float | str | None) -> Decimal | None:
    """A number with a fraction: ``10`` becomes ``10.0``. The one place where decimals are made.

    Raises:
        ValueError: the text is no number.
    """
    return None if value is None else Decimal(float(value))


def decimal_or_none(value: object) -> Decimal | None:
    """Like :func:`decimal`, for what a plugin or a browser wrote; None if it is no possible grade.

    A number of more than ten digits may be a telephone number.
    """
    try:
        number = decimal(str(value)) if value is not None and not isinstance(value, bool) else None
    except ValueError:
        return None
    return number if number is not None and abs(number) < _LARGEST_GRADE else None


def is_course(courseid: int | None) -> bool:
    """Whether a course id is that of a course (not 0, nor the front page)."""
    return courseid is not None and courseid > FRONT_PAGE

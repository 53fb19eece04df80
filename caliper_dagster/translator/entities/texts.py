"""Texts leave by their class: what may not leave is taken out where an entity is made.

A function that makes entities is registered with the class of each text that they can hold. The
registry wraps it, so that whoever calls it gets an entity without the texts that do not leave. The
entity keeps its id and its type. Nothing is searched for in finished JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any, Literal, TypeVar, cast

import msgspec
from msgspec.structs import replace

from caliper_dagster.caliper.entities import Entity, OpenEndedResponse, Response
from caliper_dagster.core.privacy import TextClass

ClassOfText = TextClass | Literal["by_table"]
"""The class of a text as registered. ``by_table``: the record decides, at each call."""

ClassOf = Callable[..., TextClass]
"""Takes the arguments of an entity function after the first; returns the class of the texts that
are registered as ``by_table``."""

Path = tuple[str, ...]

F = TypeVar("F", bound=Callable[..., Any])
E = TypeVar("E", bound=Entity)

_BY_OPTIONS = "person"
"""The class that ``PersonOptions`` decides about: names and identifiers each have a setting."""

_WITHOUT_TEXT: Mapping[type[Entity], type[Entity]] = {OpenEndedResponse: Response}
"""Types that are nothing without their text. 1EdTech's caliper-python refuses such an event."""


def withholding(
    function: F, texts: Mapping[str, ClassOfText], class_of: ClassOf | None = None
) -> F:
    """An entity function whose entities hold no text of a class that does not leave.

    Args:
        function: takes ``Render`` and the values of some columns; returns an entity or None.
        texts: class of each text by the path of its property, such as ``assignable.name``.
        class_of: decides about the texts that are ``by_table``.

    Returns:
        The function itself if its entities hold no text.
    """
    if not texts:
        return function
    plan = _Plan(texts)

    @wraps(function)
    def made(render: Any, *values: Any, **named: Any) -> Any:  # noqa: ANN401 - any entity function
        entity = function(render, *values, **named)
        if entity is None:
            return None
        withheld = plan.withheld(render.texts)
        if plan.by_table and (class_of is None or class_of(*values, **named) not in render.texts):
            withheld += plan.by_table
        return without_texts(entity, withheld) if withheld else entity

    return cast(F, made)


def withholding_of_slots(function: F, texts: Mapping[str, ClassOfText]) -> F:
    """The same for a function that makes derived events; paths begin with the slot.

    Args:
        function: takes ``Render`` and the values of some columns; returns events, which have their
            entities in ``object``, ``generated`` and ``target``.
        texts: class of each text by slot and path, such as ``generated.value``.
    """
    if not texts:
        return function
    plan = _Plan(texts)

    @wraps(function)
    def made(render: Any, *values: Any, **named: Any) -> Any:  # noqa: ANN401 - any such function
        events = function(render, *values, **named)
        withheld = plan.withheld(render.texts)
        return [event.without_texts(withheld) for event in events] if withheld else events

    return cast(F, made)


class _Plan:
    """The paths of a function's texts, by what leaves.

    Attributes:
        by_table: paths whose class the record decides.
    """

    def __init__(self, texts: Mapping[str, ClassOfText]) -> None:
        self._texts = texts
        self._withheld: dict[frozenset[TextClass], tuple[Path, ...]] = {}
        self.by_table = tuple(self._paths(lambda kind: kind == "by_table"))

    def withheld(self, leaving: frozenset[TextClass]) -> tuple[Path, ...]:
        """Paths of the texts of all classes that do not leave."""
        paths = self._withheld.get(leaving)
        if paths is None:
            staying = {"by_table", _BY_OPTIONS, *leaving}
            paths = tuple(self._paths(lambda kind: kind not in staying))
            self._withheld[leaving] = paths
        return paths

    def _paths(self, chosen: Callable[[str], bool]) -> Iterator[Path]:
        return (tuple(path.split(".")) for path, kind in self._texts.items() if chosen(kind))


def without_texts(entity: E, paths: tuple[Path, ...]) -> E:
    """A copy of an entity without the texts at some paths; what does not change is shared.

    Where a text is all that makes a thing, such as an identifier, the thing is left out.
    """
    value: Any = entity
    for path in paths:
        value = _without(value, path)
    return cast(E, value)


def _without(value: Any, path: Path) -> Any:  # noqa: ANN401 - whatever a property holds
    if isinstance(value, list):
        return _without_in_each(value, path)
    if isinstance(value, dict):
        held: Any = value.get(path[0])
    elif isinstance(value, msgspec.Struct):
        held = getattr(value, path[0], None)
    else:  # a reference, or nothing
        return value
    if held is None:
        return value
    left = _without(held, path[1:]) if path[1:] else None
    return value if left is held else _with(value, path[0], left)


def _without_in_each(values: list[Any], path: Path) -> list[Any] | None:
    left = [_without(value, path) for value in values]
    if all(new is old for new, old in zip(left, values, strict=True)):
        return values
    return [value for value in left if value is not None] or None


def _with(holder: Any, name: str, left: Any) -> Any:  # noqa: ANN401 - a map or a Struct
    """A copy of what holds a property, with what is left of the property; None if nothing is."""
    if isinstance(holder, dict):
        rest = {key: value for key, value in holder.items() if key != name}
        return (rest | ({name: left} if left is not None else {})) or None
    if left is None and name in _required(type(holder)):
        return None
    changed = replace(holder, **{name: left})
    plainer = _WITHOUT_TEXT.get(type(changed))
    if plainer is None:
        return changed
    return plainer(**{field: getattr(changed, field) for field in plainer.__struct_fields__})


def _required(cls: type[msgspec.Struct]) -> tuple[str, ...]:
    fields = cls.__struct_fields__
    return fields[: len(fields) - len(cls.__struct_defaults__)]

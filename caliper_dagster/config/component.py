"""The settings of a site as attributes of a component: one ``defs.yaml`` in a project of Dagster.

The attributes are the settings by their keys (``config.settings``), with the values that YAML has:
lists, numbers, true and false. Some say how the site appears in the project that it is a part of.
Nothing is inherited from the environment. A secret never stands in the file: its attribute is
``"{{ env.NAME }}"``, which is read as the place of the secret and not as its value, or the
attribute with ``_file`` at its end names a file. This module does not import Dagster, which renders
the other templates.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import InitErrorDetails

from caliper_dagster.config.declaration import (
    Declaration,
    Mistake,
    Reference,
    check,
    declarations,
    nested,
)
from caliper_dagster.config.event_store_settings import FORMERLY_OF_SITE, EventStoreSettings
from caliper_dagster.config.settings import InHostProject, Settings
from caliper_dagster.core.errors import ConfigurationError

_LEFT_OUT = {"sites", "file_mode", "keep_runs", "keep_compute_logs"}
"""Settings of a whole installation, or of Dagster's records, which are those of other assets too.
"""

_REQUIRED = {"moodle_db_url", "moodle_wwwroot"}
_PATHS = {"storage", "event_stores", "recipes", "ca_file", "event_filter"}
_FILE = "_file"

_MUST_REFER = (
    'must be "{{ env.NAME }}", or replaced by an attribute with _file at its end: a secret must '
    "not stand in a file of settings"
)
_VARIABLE = re.compile(r"\{\{\s*env(?:\.(\w+)|\(\s*['\"](\w+)['\"]\s*\))\s*\}\}")

_NO_VALUE = "has no value: a variable in its template is not set"

_PREFIX_FORM = "may have only letters, digits and _, with / between its parts"
_PREFIX = re.compile(r"[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*")

_OF_PROJECT: Mapping[str, tuple[Any, str]] = {
    "asset_key_prefix": (
        str | list[str] | None,
        "what the keys of the site's assets begin with, such as `north` or `lms/north`; the names "
        "of its jobs, schedules, sensors, pools and resources begin with it too. Two sites of a "
        "project need different ones",
    ),
    "group": (
        str | None,
        "group of the assets; those of Moodle's tables are in a group of this name with `_moodle` "
        "at its end. By default `caliper` and `moodle`, after the prefix",
    ),
    "tags": (dict[str, str | int | float | bool] | None, "tags of all assets of the site"),
}

Render = Callable[[Any], Any]
"""Replaces the templates in a value."""

_HIDDEN = "…"


class _Attributes(BaseModel):
    """Refuses what is unknown. An attribute that is misspelt may be a secret: no error shows it."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="wrap")
    @classmethod
    def _without_values(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:  # noqa: ANN401 - anything
        """Dagster makes an error of its own from this one, which shows the values that it has."""
        try:
            return handler(values)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            lines = [
                InitErrorDetails(
                    type=one["type"], loc=one["loc"], input=_HIDDEN, ctx=one.get("ctx", {})
                )
                for one in found
            ]
            raise ValidationError.from_exception_data(error.title, lines, hide_input=True) from None


@cache
def attributes_model() -> type[BaseModel]:
    """The attributes with types and descriptions, from the declarations of the settings.

    The types are wide, for every value may be a template; `settings_from` checks the values.
    """
    own = {
        name: (kind, Field(None, description=meaning))
        for name, (kind, meaning) in _OF_PROJECT.items()
    }
    former = _fields(EventStoreSettings, FORMERLY_OF_SITE)
    return _model("MoodleSiteAttributes", Settings, own | former)


def _fields(settings: type[BaseModel], keys: Collection[str]) -> dict[str, Any]:
    """Some settings of a model as attributes."""
    attributes = [
        _attribute(declared, settings.model_fields[declared.key].annotation)
        for declared in declarations(settings)
        if declared.key in keys
    ]
    return {name: attribute for pair in attributes for name, attribute in pair.items()}


def _model(name: str, settings: type[BaseModel], more: Mapping[str, Any]) -> type[BaseModel]:
    fields: dict[str, Any] = dict(more)
    declared = {setting.key: setting for setting in declarations(settings)}
    for key, field in settings.model_fields.items():
        if key in _LEFT_OUT:
            continue
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            part: Any = _model(f"{name}_{key}", field.annotation, {})
            fields[key] = (part | None, Field(None, description=_BLOCKS[key]))
        elif key in declared:
            fields |= _attribute(declared[key], field.annotation)
    return create_model(name, __base__=_Attributes, **fields)


_BLOCKS = {
    "event_store": "the event store that receives the events",
    "checks": "limits of the standing checks",
    "alerts": "who is told of failed runs and failed checks, and how",
}


def _attribute(setting: Declaration, annotation: Any) -> dict[str, Any]:  # noqa: ANN401
    meaning = setting.meaning
    if setting.default not in (None, "") and isinstance(setting.default, str | int | float):
        meaning += f". By default {str(setting.default).lower()}"
    if not setting.secret:
        return {
            setting.key: (_yaml_type(setting.key, annotation), Field(None, description=meaning))
        }
    place = 'a secret: "{{ env.NAME }}"'
    kind: Any = dict[str, str] | str | None if setting.by_name else str | None
    return {
        setting.key: (kind, Field(None, description=f"{meaning}; {place}")),
        setting.key + _FILE: (
            str | None,
            Field(None, description=f"file in which {setting.key} stands"),
        ),
    }


def _yaml_type(key: str, annotation: Any) -> Any:  # noqa: ANN401 - types as pydantic takes them
    if key == "keep_partitions":
        return dict[str, int] | str | None
    kinds = {get_origin(kind) or kind for kind in (annotation, *get_args(annotation))}
    if key == "recipes" or tuple in kinds:
        return list[str] | str | None
    for kind in (bool, int, float):
        if kind in kinds:
            return kind | str | None
    if Literal in kinds:
        return annotation | str | None
    return str | None


def settings_from(attributes: Mapping[str, Any], render: Render, source: str) -> Settings:
    """The settings of a site that a component describes.

    Args:
        attributes: what the file says, by key; templates are not replaced yet.
        render: replaces the templates in a value that is no secret.
        source: what describes the component, for errors.

    Raises:
        ConfigurationError: a value is missing or wrong; one sentence with source and attribute,
            which repeats no value.
    """
    try:
        prefix = _prefix(_of_project("asset_key_prefix", attributes, render))
        host = check(InHostProject, {"key_prefix": prefix, **_appearance(attributes, render)})
        settings = check(Settings, nested(_values(attributes, render)))
    except Mistake as mistake:
        name = ".".join(mistake.path)
        raise ConfigurationError(f"{source}: {name} {mistake.problem}.") from None
    site = "_".join(prefix) or None
    folder = None if settings.storage else site
    return settings.model_copy(update={"host": host, "site": site, "folder": folder})


def _values(attributes: Mapping[str, Any], render: Render) -> dict[Declaration, object]:
    for key in _REQUIRED:
        if not attributes.get(key) and not attributes.get(key + _FILE):
            raise Mistake((key,), "is required")
    # A secret without a place is None; left out it would be a variable of the environment.
    values: dict[Declaration, object] = {
        setting: None for setting in _declared().values() if setting.secret
    }
    for path, value in _leaves(attributes, ()):
        setting, held = _value(path, value, render)
        if setting in values and not setting.secret:
            raise Mistake(setting.path, f"and {setting.key} of the site exclude each other")
        if values.get(setting) is not None:
            raise Mistake(setting.path, f"and {setting.key}{_FILE} exclude each other")
        values[setting] = held
    return values


@cache
def _declared() -> Mapping[tuple[str, ...], Declaration]:
    all_settings = {setting.path: setting for setting in declarations(Settings)}
    former = {(key,): all_settings["event_store", key] for key in FORMERLY_OF_SITE}
    return all_settings | former


def _leaves(
    attributes: Mapping[str, Any], above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in attributes.items():
        path = (*above, key)
        if value is None or path[0] in _OF_PROJECT:
            continue
        if path in _declared() or not isinstance(value, Mapping):
            yield path, value
        else:
            yield from _leaves(value, path)


def _value(path: tuple[str, ...], value: Any, render: Render) -> tuple[Declaration, object]:  # noqa: ANN401
    """A setting, and its value as the model takes it."""
    setting = _declared().get(path)
    if setting is None:
        setting = _declared()[(*path[:-1], path[-1].removesuffix(_FILE))]
        return setting, Reference(file=_absolute(path, _rendered(path, value, render)))
    if setting.by_name and isinstance(value, Mapping):
        return setting, {
            name: _place(held) or _plain(path, held, render) for name, held in value.items()
        }
    if setting.secret:
        if place := _place(value):
            return setting, place
        if setting.key != "url" or "{{" in value:
            raise Mistake(path, _MUST_REFER)
        return setting, value  # the model refuses an address that holds a secret
    held = _rendered(path, value, render)
    if setting.key in _PATHS:
        parts = held if isinstance(held, list) else str(held).split(",")
        held = ",".join(_absolute(path, part.strip()) for part in parts)
    return setting, held


def _plain(path: tuple[str, ...], value: object, render: Render) -> Any:  # noqa: ANN401
    """A value beside a secret; a template in it may have that secret as a part."""
    if "{{" in str(value):
        raise Mistake(path, _MUST_REFER)
    return _rendered(path, value, render)


def _place(value: object) -> Reference | None:
    found = _VARIABLE.fullmatch(value.strip()) if isinstance(value, str) else None
    return Reference(env=found[1] or found[2]) if found else None


def _rendered(path: tuple[str, ...], value: object, render: Render) -> Any:  # noqa: ANN401
    """A value without templates; a number as the text that an environment would have."""
    names = {one or other for one, other in _VARIABLE.findall(str(value))}
    # Within a longer text Dagster would write "None" for it.
    if any(name not in os.environ for name in names) or (held := render(value)) is None:
        raise Mistake(path, _NO_VALUE)
    return str(held) if isinstance(held, int | float) and not isinstance(held, bool) else held


def _absolute(path: tuple[str, ...], name: Any) -> str:  # noqa: ANN401 - what a template gives
    if "://" not in str(name) and not Path(str(name)).is_absolute():
        raise Mistake(
            path,
            "must be an absolute path or a URL, for processes of Dagster have different working "
            'folders; "{{ context.project_root }}/…" is a path in the project',
        )
    return str(name)


def _prefix(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    text = "/".join(map(str, value)) if isinstance(value, list) else str(value)
    if not _PREFIX.fullmatch(text):
        raise Mistake(("asset_key_prefix",), _PREFIX_FORM)
    return tuple(text.split("/"))


def _appearance(attributes: Mapping[str, Any], render: Render) -> dict[str, object]:
    tags = _of_project("tags", attributes, render) or {}
    texts = tuple((name, str(value)) for name, value in tags.items())
    return {"group": _of_project("group", attributes, render), "tags": texts}


def _of_project(key: str, attributes: Mapping[str, Any], render: Render) -> Any:  # noqa: ANN401
    """An attribute of `_OF_PROJECT` without templates; None if it is not there."""
    value = attributes.get(key)
    if value is None:
        return None
    held = _rendered((key,), value, render)
    if isinstance(held, Mapping | list):
        parts = held.values() if isinstance(held, Mapping) else held
        if any(part is None for part in parts):
            raise Mistake((key,), _NO_VALUE)
    return held

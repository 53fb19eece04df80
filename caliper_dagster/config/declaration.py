"""How a setting is declared, and how the values of any source are checked against the declarations.

A setting is one field of a model: its key, environment variable, default, meaning and check stand
in one place (`setting`). The environment and the file of sites name settings by variable, the file
of event stores by key; all of them pass `parse`, which gives back what the model then checks.

A secret never stands in a file or in a model. Its place does, as a `Reference`, and `Reference` is
the only place that reads it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.config import JsonDict
from pydantic_core import ErrorDetails

from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName

Checked = TypeVar("Checked", bound=BaseModel)


class Model(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Reference(Model):
    """The place of a value: ``{env: NAME}``, an environment variable.

    The value is read each time it is used, from the environment of the process that uses it.
    """

    env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")

    def value(self) -> str | None:
        """The value; None when the variable is not set or empty."""
        return os.environ.get(self.env) or None


def _must_refer(value: object) -> object:
    if value is None or isinstance(value, dict | Reference):
        return value
    raise ValueError("must be {env: NAME}: a secret must not stand in a file")


SecretReference = Annotated[Reference, BeforeValidator(_must_refer)]
"""The type of a secret setting."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A setting.

    Attributes:
        path: the keys that lead to it in the model.
        variable: its environment variable.
        default: its default value; None for a secret.
        meaning: what it does, for the README and for errors.
        secret: its value is only ever referred to.
    """

    path: tuple[str, ...]
    variable: str
    default: object
    meaning: str
    secret: bool

    @property
    def key(self) -> str:
        """Its name in YAML files."""
        return self.path[-1]


class Mistake(Exception):  # noqa: N818 - an answer to the reader of the source, who words it
    """A value that is wrong, or a key that is unknown.

    Attributes:
        path: the keys that lead to it in the model; empty for an unknown key.
        problem: what is wrong, without the value; begins with a small letter, has no full stop.
    """

    def __init__(self, path: tuple[str, ...], problem: str) -> None:
        super().__init__(problem)
        self.path, self.problem = path, problem


def setting(
    variable: str,
    default: object,
    meaning: str,
    *,
    secret: bool = False,
    **checks: Any,  # noqa: ANN401 - those of pydantic
) -> Any:  # noqa: ANN401 - as ``pydantic.Field``
    """Declare a setting as a field of a model; the field's name is its key in YAML files.

    Args:
        variable: its environment variable.
        default: its default value.
        meaning: what it does: a clause for the README's table, without a full stop.
        secret: its value must not stand in a file, and no sentence repeats it.
        **checks: constraints of ``pydantic.Field``.
    """
    extra: JsonDict = {"variable": variable, "secret": secret}
    return Field(default, description=meaning, json_schema_extra=extra, **checks)


def declarations(model: type[BaseModel]) -> tuple[Declaration, ...]:
    """The settings of a model and of the models in it, in the order of the documentation."""
    return tuple(_declarations(model, ()))


def _declarations(model: type[BaseModel], above: tuple[str, ...]) -> Iterable[Declaration]:
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and "variable" in extra:
            secret = bool(extra["secret"])
            yield Declaration(
                (*above, name),
                str(extra["variable"]),
                None if secret else field.default,
                field.description or "",
                secret,
            )
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _declarations(field.annotation, (*above, name))


def parse(
    values: Mapping[str, object],
    declared: Mapping[str, Declaration],
    environment: Mapping[str, str],
) -> dict[Declaration, object]:
    """What a file says of settings.

    A reference to a secret stays a reference; any other one is replaced by its value.

    Args:
        values: by the file's name of each setting.
        declared: the settings that the file may name, by that name.
        environment: where references lead.

    Raises:
        Mistake: a key is unknown, or a reference is malformed or leads nowhere.
    """
    parsed: dict[Declaration, object] = {}
    for name, value in values.items():
        if name not in declared:
            near = get_close_matches(str(name), declared, 1)
            raise Mistake(
                (),
                "it has an unknown key" + (f"; the nearest known one is {near[0]}" if near else ""),
            )
        declaration = declared[name]
        if isinstance(value, dict):
            reference = check(Reference, value, declaration.path)
            value = reference if declaration.secret else environment.get(reference.env)
            if not value:
                problem = f"the variable ${reference.env} is not set"
                raise Mistake(declaration.path, problem)
        parsed[declaration] = value
    return parsed


def nested(values: Mapping[Declaration, object]) -> dict[str, Any]:
    """The values as a model takes them: one level for each key of a path."""
    tree: dict[str, Any] = {}
    for declaration, value in values.items():
        branch = tree
        for key in declaration.path[:-1]:
            branch = branch.setdefault(key, {})
        branch[declaration.key] = value
    return tree


def check(
    model: type[Checked], values: Mapping[str, object], above: tuple[str, ...] = ()
) -> Checked:
    """The values as a checked model.

    Args:
        model: the type.
        values: by key.
        above: the path of the model itself.

    Raises:
        Mistake: the first value that is missing, unknown or wrong.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        kinds = {"str", "Reference"}  # what pydantic adds for the members of a union
        path = tuple(str(part) for part in first["loc"] if part not in kinds)
        raise Mistake((*above, *path), _problem(first)) from None


_PROBLEMS = {
    "missing": "is missing",
    "extra_forbidden": "is not a known key",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be a text",
    "string_pattern_mismatch": "contains a character that is not allowed",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "model_type": "must have keys of its own",
    "tuple_type": "must be a list",
}


def _problem(error: ErrorDetails) -> str:
    """What is wrong, in our words; pydantic's may repeat the value."""
    if error["type"] == "value_error":
        return error["msg"].removeprefix("Value error, ")
    return _PROBLEMS.get(error["type"], "is not well-formed").format(**error.get("ctx", {}))


def not_set(declaration: Declaration, reference: Reference | None = None) -> ConfigurationError:
    """The error about a setting that is needed and not set.

    Args:
        declaration: the setting.
        reference: its place; named too when it is not the variable of the setting.
    """
    elsewhere = reference is not None and reference.env != declaration.variable
    place = f" (${reference.env})" if reference is not None and elsewhere else ""
    name = SettingName(declaration.variable)
    return ConfigurationError(Sentence(name, f"{place} is not set: {declaration.meaning}."))

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
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.config import JsonDict
from pydantic_core import ErrorDetails

from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName

Checked = TypeVar("Checked", bound=BaseModel)


class Model(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Reference(Model):
    """The place of a value: ``{env: NAME}``, an environment variable, or ``{file: PATH}``.

    The value is read each time it is used, by the process that uses it.
    """

    env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    file: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError(_MUST_REFER)
        return self

    def value(self, variable: str) -> str | None:
        """The value; None when it stands in a variable that is not set or empty.

        A line break at the end of a file does not belong to the value.

        Args:
            variable: the environment variable of the setting, for the error.

        Raises:
            ConfigurationError: the file cannot be read, or is empty.
        """
        if self.file is None:
            return os.environ.get(self.env or "") or None
        problem = None
        try:
            path = Path(self.file)
            if path.exists() and not path.is_file():
                problem = "is not a regular file"  # A pipe would be waited for.
            else:
                with path.open("rb") as file:
                    text = file.read(_LONGEST_SECRET + 1).decode().rstrip("\r\n")
                if text and len(text) <= _LONGEST_SECRET:
                    return text
                problem = "is too long" if text else "is empty"
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            problem = f"cannot be read ({reason})"
        raise ConfigurationError(
            Sentence(SettingName(variable), f": its file {self.file} {problem}.")
        )


_MUST_REFER = "must be {env: NAME} or {file: PATH}"
_LONGEST_SECRET = 65_536
"""Bytes of a file with a secret, at most."""

FILE_SUFFIX = "_FILE"
"""What the variable of a secret has at its end if it names the file in which the secret stands."""


def secret_of(variable: str) -> str | None:
    """A secret of the environment that is no setting of a site; None when it is not set.

    Raises:
        ConfigurationError: it stands in a variable and in a file, or the file cannot be read.
    """
    try:
        place = _place(variable, os.environ)
    except ValueError as error:
        raise ConfigurationError(f"{variable} is wrong: {error}.") from None
    return place.value(variable)


def _place(variable: str, environment: Mapping[str, str]) -> Reference:
    path = environment.get(variable + FILE_SUFFIX)
    if path and environment.get(variable):
        raise ValueError(f"{variable}{FILE_SUFFIX} is set too, and only one of them may be")
    return Reference(file=path) if path else Reference(env=variable)


def _must_refer(value: object) -> object:
    if value is None or isinstance(value, dict | Reference):
        return value
    raise ValueError(f"{_MUST_REFER}: a secret must not stand in a file of settings")


SecretReference = Annotated[Reference, BeforeValidator(_must_refer)]
"""The type of a secret setting."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A setting.

    Attributes:
        path: the keys that lead to it in the model.
        variable: its environment variable.
        default: its default value; None for a secret.
        meaning: what it does, for docs/settings.md and for errors.
        secret: its value is only ever referred to.
        by_name: its value may have names with a value each, which may be referred to.
        may_be_empty: an empty value is a value; of other settings it means that they are not set.
    """

    path: tuple[str, ...]
    variable: str
    default: object
    meaning: str
    secret: bool
    by_name: bool = False
    may_be_empty: bool = False

    def place(self, environment: Mapping[str, str]) -> Reference:
        """Where an environment has the value: in the variable, or in the file that another names.

        Raises:
            Mistake: the environment has both.
        """
        try:
            return _place(self.variable, environment)
        except ValueError as error:
            raise Mistake(self.path, str(error)) from None

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
    by_name: bool = False,
    may_be_empty: bool = False,
    **checks: Any,  # noqa: ANN401 - those of pydantic
) -> Any:  # noqa: ANN401 - as ``pydantic.Field``
    """Declare a setting as a field of a model; the field's name is its key in YAML files.

    Args:
        variable: its environment variable.
        default: its default value.
        meaning: what it does: a clause for the table in docs/settings.md, without a full stop.
        secret: its value must not stand in a file, and no sentence repeats it.
        by_name: its value may have names with a value each.
        may_be_empty: an empty value does not mean that it is not set.
        **checks: constraints of ``pydantic.Field``.
    """
    extra: JsonDict = {
        "variable": variable,
        "secret": secret,
        "by_name": by_name,
        "may_be_empty": may_be_empty,
    }
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
                bool(extra["by_name"]),
                bool(extra["may_be_empty"]),
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
        declaration, value = _declaration(name, value, declared)
        if declaration in parsed:
            raise Mistake(declaration.path, f"{name} is there too, and only one of them may be")
        if isinstance(value, dict):
            value = _resolved(value, declaration, environment)
        parsed[declaration] = value
    return parsed


def _declaration(
    name: str, value: object, declared: Mapping[str, Declaration]
) -> tuple[Declaration, object]:
    """The setting of a name, and its value; a name with `FILE_SUFFIX` names a secret's file."""
    if name in declared:
        return declared[name], value
    secret = declared.get(str(name).removesuffix(FILE_SUFFIX))
    if secret is not None and secret.secret:
        return secret, {"file": value}
    near = get_close_matches(str(name), declared, 1)
    raise Mistake(
        (), "it has an unknown key" + (f"; the nearest known one is {near[0]}" if near else "")
    )


def _resolved(
    value: dict[str, object], declaration: Declaration, environment: Mapping[str, str]
) -> object:
    path, is_place = declaration.path, value.keys() <= {"env", "file"}
    if declaration.by_name and not is_place:
        return {
            name: _reference(held, path) if isinstance(held, dict) else held
            for name, held in value.items()
        }
    reference = _reference(value, path)
    if declaration.secret:
        return reference
    if reference.env is None:
        raise Mistake(path, "must not stand in another file: only a secret may")
    if not environment.get(reference.env):
        raise Mistake(path, f"the variable ${reference.env} is not set")
    return environment[reference.env]


def _reference(value: dict[str, object], path: tuple[str, ...]) -> Reference:
    if value.keys() not in ({"env"}, {"file"}):
        raise Mistake(path, _MUST_REFER)  # An unknown key may be the secret itself.
    return check(Reference, value, path)


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
        raise _mistakes(error, above)[0] from None


def mistakes(model: type[BaseModel], values: Mapping[str, object]) -> list[Mistake]:
    """All values that `check` would refuse; a list may have several."""
    try:
        model.model_validate(values)
    except ValidationError as error:
        return _mistakes(error, ())
    return []


def _mistakes(error: ValidationError, above: tuple[str, ...]) -> list[Mistake]:
    # What pydantic adds for the members of a union.
    kinds = {"str", "Reference", "function-after[_is_one_place(), Reference]"}
    found = error.errors(include_url=False, include_input=False)
    paths = [(str(part) for part in one["loc"] if part not in kinds) for one in found]
    return [Mistake((*above, *path), _problem(one)) for path, one in zip(paths, found, strict=True)]


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
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "model_type": "must have keys of its own",
    "tuple_type": "must be a list",
}


_NAME_PATTERNS = (r"^[A-Za-z0-9_]*$", r"^[A-Za-z0-9_]+$")


def _problem(error: ErrorDetails) -> str:
    """What is wrong, in our words; pydantic's may repeat the value."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return error["msg"].removeprefix("Value error, ")
    if kind == "literal_error":
        # pydantic quotes the values.
        return f"must be {context['expected']}".replace("'", "")
    if kind == "string_pattern_mismatch" and context["pattern"] in _NAME_PATTERNS:
        return "may have only letters, digits and _"
    return _PROBLEMS.get(kind, "is not well-formed").format(**context)


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

"""Files of settings: YAML that names things, and says below each name what is said of it.

Here belongs how such a file is read, and that a mistake in it is one sentence: it names the setting
that names the file, the file and the place, and repeats no value. What may be said is the business
of ``event_stores`` and ``sites``. No secret stands in these files, only the names of variables.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from caliper_dagster.core.errors import ConfigurationError

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TextLoader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class Variable(BaseModel):
    """A value that stands in the environment: ``{env: NAME}``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")


class SettingsFile:
    """A file that gives names to things of one kind.

    Args:
        setting: the setting that names the file.
        path: where it is.
        thing: what has names in it, such as ``site``.
        example: something that can be said of one.
        as_text: leave every value as the text that stands there, whatever YAML takes it for.
    """

    def __init__(
        self, setting: str, path: str, *, thing: str, example: str, as_text: bool = False
    ) -> None:
        self._setting, self._path = setting, path
        self._thing, self._example = thing, example
        self._loader = _TextLoader if as_text else _Loader

    def read(self) -> dict[str, dict[str, object]]:
        """What is said below each name, in the order of the file.

        Raises:
            ConfigurationError: it cannot be read, or names nothing.
        """
        found = self._load()
        if not isinstance(found, dict) or not found:
            raise self.wrong(f"it must give a name to each {self._thing}, and its settings below")
        for name, said in found.items():
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise self.wrong(
                    f"the name of each {self._thing} must be of small letters, digits and _, "
                    "beginning with a letter"
                )
            if not isinstance(said, dict):
                raise self.wrong(
                    f"{name} must have settings of its own below it, such as {self._example}"
                )
        return found

    def wrong(self, what: str) -> ConfigurationError:
        """The sentence about a mistake in it; ``what`` begins small and has no full stop."""
        return ConfigurationError(f"{self._setting} is wrong: {self._path}: {what}.")

    def _load(self) -> object:
        try:
            text = Path(self._path).read_text(encoding="utf-8")
            self._refuse_doubles(yaml.compose(text, Loader=self._loader))
            return yaml.load(text, Loader=self._loader)  # noqa: S506 - both are safe, in C
        except (OSError, UnicodeDecodeError) as error:
            what = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
            raise ConfigurationError(
                f"{self._setting}: {self._path} cannot be read ({what})."
            ) from None
        except (yaml.YAMLError, ValueError) as error:
            # The words of the parser may repeat what stands there.
            mark = getattr(error, "problem_mark", None)
            line = f" (line {mark.line + 1})" if mark else ""
            raise self.wrong(f"it is no well-formed YAML{line}") from None

    def _refuse_doubles(self, node: yaml.Node | None) -> None:
        """YAML takes the last of two equal keys without a word."""
        if not isinstance(node, yaml.MappingNode):
            return
        seen: set[str] = set()
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                raise self.wrong(f"{name} stands there twice (line {line})")
            seen.add(name)
            self._refuse_doubles(value)


def first_mistake(error: ValidationError) -> tuple[str, str]:
    """Place and words of the first mistake that was found, without the value."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"] if part not in {"str", "Variable"})
    what = first["msg"].removeprefix("Value error, ")
    return place, f"{what[:1].lower()}{what[1:]}"

"""Files of settings: YAML that names several sites or event stores, with settings below each name.

This module reads such a file and words what is wrong in it: one sentence with the setting that
names the file, the path and the place, without any value. Which settings may stand in a file is
decided in ``event_stores`` and ``sites``. A secret never stands in one, only a reference to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import yaml

from caliper_dagster.caliper.problems import shown
from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName
from caliper_dagster.core.yaml_limits import YamlLimitError, load_limited

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TextLoader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class SettingsFile:
    """A file with the settings of several sites or several event stores.

    Args:
        variable: the setting that names the file.
        path: where it is.
        subject: what it names, ``site`` or ``event store``.
        example: the name of one setting that may stand in it.
        as_text: take every value as text, whatever type YAML would give it.
    """

    def __init__(
        self, variable: str, path: str, *, subject: str, example: str, as_text: bool = False
    ) -> None:
        self._variable, self._path = SettingName(variable), path
        self._subject, self._example = subject, example
        self._loader = _TextLoader if as_text else _Loader

    def read(self) -> dict[str, dict[str, object]]:
        """The settings below each name, in the order of the file.

        Raises:
            ConfigurationError: it cannot be read, or names nothing.
        """
        content = self._load()
        if not isinstance(content, dict) or not content:
            raise self.error(f"it must name each {self._subject}, with its settings below the name")
        for name, settings in content.items():
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise self.error(
                    f"the name of each {self._subject} must consist of lower-case letters, digits "
                    "and _, and begin with a letter"
                )
            if not isinstance(settings, dict):
                raise self.error(f"{name} must have settings below it, such as {self._example}")
        return content

    def mapping(self) -> dict[str, object]:
        """The settings in a file that names no several sites or event stores.

        Raises:
            ConfigurationError: it cannot be read, or has no settings.
        """
        content = self._load()
        if not isinstance(content, dict) or not content:
            raise self.error(f"it must have settings, such as {self._example}")
        return content

    def error(self, problem: str, *place: str) -> ConfigurationError:
        """The error about something that is wrong in the file.

        Args:
            problem: what is wrong; begins with a small letter, has no full stop.
            *place: name and key at which it is.
        """
        where = "".join(f"{part}: " for part in (self._path, *place))
        return self._error(Sentence(self._variable, f" is wrong: {where}{problem}."), place)

    def _error(self, sentence: Sentence, place: Iterable[str] = ()) -> ConfigurationError:
        error = ConfigurationError(sentence)
        error.place = ": ".join((self._path, *place))
        return error

    def _load(self) -> object:
        try:
            text = Path(self._path).read_text(encoding="utf-8")
            content, nodes = load_limited(text, self._loader)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            sentence = Sentence(self._variable, f": {self._path} cannot be read ({reason}).")
            raise self._error(sentence) from None
        except yaml.YAMLError as error:
            # The parser's own message may repeat a value.
            mark = getattr(error, "problem_mark", None)
            line = f" (line {mark.line + 1})" if mark else ""
            limit = error.problem if isinstance(error, YamlLimitError) else None
            raise self.error(f"{limit or 'it is not well-formed YAML'}{line}") from None
        self._refuse_doubles(nodes)
        return content

    def _refuse_doubles(self, node: yaml.Node | None) -> None:
        """Refuse equal keys: YAML silently takes the last one."""
        if not isinstance(node, yaml.MappingNode):
            return
        seen: set[str] = set()
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                raise self.error(f"{shown(name)} occurs twice (line {line})")
            seen.add(name)
            self._refuse_doubles(value)


def read_file(name: str) -> str:
    """The text of a file of recipes or of a filter.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(f"{name} cannot be read ({reason}).") from None

"""The errors of this project: few, named, each with one clear sentence and no secret in it.

Every part raises them. The command line turns them into exit status 2, and a Dagster step into a
failed run with the same sentence.
"""

from __future__ import annotations

from collections.abc import Mapping


class SettingName(str):
    """The environment variable of a setting, as a part of a `Sentence`."""

    __slots__ = ()


class Sentence(str):
    """The text of an error that knows which of its parts name a setting.

    As a string it names settings by their environment variables. Where a setting stands in a file
    under another key, `with_names` says the same with that key.

    Args:
        *parts: texts, setting names and other sentences; they are joined as they are.
    """

    parts: tuple[str, ...]

    def __new__(cls, *parts: str) -> Sentence:
        """Join the parts."""
        made = super().__new__(cls, "".join(parts))
        made.parts = tuple(
            piece
            for part in parts
            for piece in (part.parts if isinstance(part, Sentence) else (part,))
        )
        return made

    def with_names(self, names: Mapping[str, str]) -> str:
        """The sentence with other names of settings.

        Args:
            names: by environment variable; a setting that is not in it keeps its variable.
        """
        return "".join(
            names.get(part, part) if isinstance(part, SettingName) else part for part in self.parts
        )


class CaliperDagsterError(Exception):
    """Base of all errors that are meant for a person: one sentence, free of secrets."""

    @property
    def sentence(self) -> Sentence:
        """What is wrong, and the settings that are named in it."""
        message = self.args[0] if self.args else ""
        return message if isinstance(message, Sentence) else Sentence(str(message))

    @property
    def settings(self) -> tuple[str, ...]:
        """The environment variables of the settings that the sentence names."""
        return tuple(part for part in self.sentence.parts if isinstance(part, SettingName))


class ConfigurationError(CaliperDagsterError):
    """A setting is missing or wrong; the sentence names it. Trying again does not help.

    Attributes:
        place: where it stands when that is a file: the path, and the name of the site or the event
            store in it; None for the environment.
    """

    place: str | None = None


class RowFilterError(ConfigurationError):
    """A filter of rows names what is not there. The sentence begins with the path of the rule."""


class SourceError(CaliperDagsterError):
    """The Moodle database answered, but what was requested could not be read."""


class StorageError(CaliperDagsterError):
    """A stored partition or the ledger is missing or damaged, or breaks its contract."""


class RunError(CaliperDagsterError):
    """A run failed. The sentence is that of the step that failed first."""


class RecipeError(CaliperDagsterError):
    """A recipe is not well formed or asks for something that Caliper does not allow."""


class DeliveryError(CaliperDagsterError):
    """A destination did not acknowledge a batch. Batches acknowledged before stay acknowledged.

    Attributes:
        transient: True when the same batch may be accepted later (time-out, 5xx, store down).
    """

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.transient = transient

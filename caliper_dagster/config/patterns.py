"""Which words pass a filter: lists of patterns in the settings."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import BeforeValidator

from caliper_dagster.config.declaration import Model


class Patterns(Model):
    """Which words pass: all, or those that match ``include``; never those that match ``exclude``.

    Patterns are those of file names (``*``, ``?``, ``[…]``); they distinguish upper and lower case.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def rule(self, word: str) -> str | None:
        """The rule that keeps the word back; None when it passes."""
        return _rule(self.include, self.exclude, (), (word,))

    def rule_of_all(self, words: Collection[str] | None) -> str | None:
        """The rule that keeps a thing of several words back; None when it passes.

        Args:
            words: of which one decides; None where they are not known. A thing that an excluded
                word might have does not pass.
        """
        return _rule(self.include, self.exclude, (), words)


def _ids_and_patterns(value: object) -> object:
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list of ids and patterns")  # noqa: TRY004 - pydantic words it
    if any(isinstance(entry, bool) or not isinstance(entry, int | str) for entry in value):
        raise ValueError("must be a list of ids and patterns")
    return tuple(value)


IdsAndPatterns = Annotated[tuple[int | str, ...], BeforeValidator(_ids_and_patterns)]
"""Numbers are ids, texts are patterns."""


class Selection(Model):
    """Like `Patterns`, for things that have an id, too: a number is an id, a text a pattern."""

    include: IdsAndPatterns = ()
    exclude: IdsAndPatterns = ()

    def rule(self, ids: Collection[int], words: Collection[str] | None) -> str | None:
        """The rule that keeps a thing back; None when it passes.

        Args:
            ids: of the thing and of what contains it.
            words: names of these; None where they are not known. A thing that an excluded name
                might have does not pass.
        """
        return _rule(self.include, self.exclude, ids, words)

    @property
    def exact(self) -> tuple[int | str, ...]:
        """The entries that name one thing."""
        entries = (*self.include, *self.exclude)
        return tuple(it for it in entries if isinstance(it, int) or not _WILD.intersection(it))


_WILD = frozenset("*?[")


def _rule(
    include: Sequence[int | str],
    exclude: Sequence[int | str],
    ids: Collection[int],
    words: Collection[str] | None,
) -> str | None:
    for entry in exclude:
        if _holds(entry, ids, words or ()):
            return f"exclude {entry}"
    if words is None and any(isinstance(entry, str) for entry in exclude):
        return "not known"
    if include and not any(_holds(entry, ids, words or ()) for entry in include):
        return "include"
    return None


def _holds(entry: int | str, ids: Collection[int], words: Collection[str]) -> bool:
    if isinstance(entry, int):
        return entry in ids
    return any(matches(word, entry) for word in words)


def matches(word: str, pattern: str) -> bool:
    """Whether a word matches a pattern; a backslash before either does not count."""
    return fnmatchcase(word.lstrip("\\"), pattern.lstrip("\\"))

"""``caliper-dagster validate FILE``: whether the documents of a file are valid Caliper.

Here belongs reading the file and telling the result; the rules are the translator's
(``caliper.document_rules``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import IO, TextIO

from caliper_dagster.caliper.document_rules import parse, validate
from caliper_dagster.caliper.problems import Problem, Problems
from caliper_dagster.core.errors import CaliperDagsterError

_GROUPS_SHOWN = 20
_TELL_EVERY = 10_000


@dataclass(slots=True)
class _Group:
    """A problem that documents share."""

    first: str  # place and path
    documents: int = 0


@dataclass(slots=True)
class _Tally:
    """What was found so far."""

    documents: int = 0
    invalid: int = 0
    groups: dict[Problem, _Group] = field(default_factory=dict)

    def add(self, place: str, problems: Problems) -> None:
        self.documents += 1
        self.invalid += bool(problems)
        seen: dict[Problem, Problem] = {}
        for problem in problems:
            seen.setdefault(problem.kind, problem)
        for kind, problem in seen.items():
            group = self.groups.setdefault(kind, _Group(f"{place}: {problem.path or '/'}"))
            group.documents += 1


def validate_file(
    path: str,
    out: TextIO,
    *,
    strict: bool = False,
    progress: Callable[[int], object] | None = None,
) -> int:
    """Validate every document of a file and tell the result.

    Events, entity describes and envelopes may be mixed, and so may versions: each document is held
    against the version of its own context. An envelope with all that it carries is one document.

    Args:
        path: a file of one JSON document, an array of them, or one on each line (NDJSON); ``-`` is
            standard input. Lines are read one by one, everything else at once.
        out: where the result is told: how many documents there are and how many are not valid, and
            the most frequent problems, each with the place where it was seen first.
        strict: see :func:`caliper_dagster.caliper.document_rules.validate`.
        progress: told now and then how many documents are done.

    Returns:
        How many documents are not valid; the command's exit status is 1 unless this is 0.

    Raises:
        CaliperDagsterError: the file cannot be read (exit status 2).
    """
    tally = _Tally()
    with _opened(path) as file:
        for place, problems in _checked(file, strict=strict):
            tally.add(place, problems)
            if progress is not None and tally.documents % _TELL_EVERY == 0:
                progress(tally.documents)
    _tell(tally, out)
    return tally.invalid


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    try:
        if path == "-":
            yield sys.stdin.buffer
        else:
            with Path(path).open("rb") as file:
                yield file
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CaliperDagsterError(f"{path} cannot be read: {reason}.") from None


def _checked(file: IO[bytes], *, strict: bool) -> Iterator[tuple[str, Problems]]:
    """The place and the problems of each document."""
    lines = ((number, line) for number, line in enumerate(file, start=1) if line.strip())
    start = list(islice(lines, 2))
    every = chain(start, lines)
    if _is_by_line([line for _, line in start]):
        for number, line in every:
            yield from _documents(line, f"line {number}", strict=strict)
    elif start:
        yield from _documents(_together(every), "the file", strict=strict)


def _together(lines: Iterable[tuple[int, bytes]]) -> bytes:
    """The lines as one text, each in its place, so that a mistake is told with its line."""
    text, at = bytearray(), 1
    for number, line in lines:
        text += b"\n" * (number - at) + line
        at = number + 1
    return bytes(text)


def _is_by_line(start: list[bytes]) -> bool:
    """Whether a file that starts with these two lines has a document on each line."""
    if len(start) < 2:
        return False
    first, second = (line.strip() for line in start)
    return (first.endswith(b"}") and second.startswith(b"{")) or not parse(first)[1]


def _documents(text: bytes, place: str, *, strict: bool) -> Iterator[tuple[str, Problems]]:
    document, problems = parse(text)
    if problems or not isinstance(document, list):
        yield place, problems or validate(document, strict=strict)
        return
    for number, item in enumerate(document, start=1):
        yield f"{place}, document {number}", validate(item, strict=strict)


def _tell(tally: _Tally, out: TextIO) -> None:
    documents = f"{tally.documents:,} document" + ("" if tally.documents == 1 else "s")
    if not tally.invalid:
        out.write(f"{documents}, all valid.\n" if tally.documents else "There is no document.\n")
        return
    out.write(f"{tally.invalid:,} of {documents} not valid:\n")
    ordered = sorted(tally.groups.items(), key=lambda item: -item[1].documents)
    for problem, group in ordered[:_GROUPS_SHOWN]:
        out.write(
            f"{group.documents:>8,}  {problem.sentence} [{problem.rule}: {problem.section}]\n"
            f"          first in {group.first}\n"
        )
    if len(ordered) > _GROUPS_SHOWN:
        out.write(f"          and {len(ordered) - _GROUPS_SHOWN} other problems\n")

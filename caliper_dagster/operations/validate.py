"""``caliper-dagster validate FILE``: checks whether the documents of a file are valid Caliper.

This module reads the file and prints the result; the rules are in ``caliper.document_rules``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import IO, TextIO

from caliper_dagster.caliper.document_rules import parse, validate
from caliper_dagster.caliper.problems import Problem, Problems
from caliper_dagster.caliper.references import References
from caliper_dagster.core.errors import CaliperDagsterError
from caliper_dagster.core.wording import plural

_GROUPS_SHOWN = 20


@dataclass(slots=True)
class _Group:
    """A problem that several documents share."""

    first: str  # place and path
    documents: int = 0


@dataclass(slots=True)
class _Tally:
    """The documents and problems so far."""

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


def validate_file(path: str, out: TextIO, *, strict: bool = False) -> int:
    """Validate every document of a file and print the result.

    A file may mix events, entity describes and envelopes, and Caliper versions: each document is
    checked against the version of its own context. An envelope with its content is one document.
    What the documents say about the same IRI must agree; of two that do not, the later is invalid.

    Args:
        path: a file with one JSON document, an array of documents, or one document per line
            (NDJSON); ``-`` for standard input. NDJSON is read line by line, any other file at once.
        out: receives the number of documents and of invalid ones, and the most frequent problems,
            each with the place of its first occurrence.
        strict: see :func:`caliper_dagster.caliper.document_rules.validate`.

    Returns:
        The number of invalid documents.

    Raises:
        CaliperDagsterError: the file cannot be read.
    """
    tally = _Tally()
    with _opened(path) as file:
        for place, problems in _checked(file, strict=strict):
            tally.add(place, problems)
    _print(tally, out)
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
    references = References()
    lines = ((number, line) for number, line in enumerate(file, start=1) if line.strip())
    start = list(islice(lines, 2))
    all_lines = chain(start, lines)
    if _is_ndjson([line for _, line in start]):
        for number, line in all_lines:
            place = f"line {number}"
            yield from _documents(line, place, strict=strict, references=references)
    elif start:
        yield from _documents(_joined(all_lines), "the file", strict=strict, references=references)


def _joined(lines: Iterable[tuple[int, bytes]]) -> bytes:
    """The lines as one text with the original line numbers, which JSON errors refer to."""
    text, next_number = bytearray(), 1
    for number, line in lines:
        text += b"\n" * (number - next_number) + line
        next_number = number + 1
    return bytes(text)


def _is_ndjson(start: list[bytes]) -> bool:
    """Whether a file that starts with these two lines has one document per line."""
    if len(start) < 2:
        return False
    first, second = (line.strip() for line in start)
    return (first.endswith(b"}") and second.startswith(b"{")) or not parse(first)[1]


def _documents(
    text: bytes, place: str, *, strict: bool, references: References
) -> Iterator[tuple[str, Problems]]:
    document, problems = parse(text)
    if problems or not isinstance(document, list):
        yield place, problems or validate(document, strict=strict, references=references)
        return
    for number, item in enumerate(document, start=1):
        problems = validate(item, strict=strict, references=references)
        yield f"{place}, document {number}", problems


def _print(tally: _Tally, out: TextIO) -> None:
    documents = plural(tally.documents, "document")
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
        others = plural(len(ordered) - _GROUPS_SHOWN, "other problem")
        out.write(f"          and {others}\n")

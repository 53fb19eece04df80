"""The mix of log rows that a benchmark runs on.

``dump``: the rows of the real site's dump, in which nearly every row is about something that people
made (an attempt, a grade, a post). ``views``: 80 rows of 100 are views of courses, modules and
posts, as in the log of an ordinary site; the rest is as in the dump.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

DUMP, VIEWS = MIXES = ("dump", "views")

_VIEWS_FOR_EACH_ROW = 4
"""80 views for 20 rows of the dump."""

_KINDS = (
    (r"\\core\\event\\course_viewed", 0.4),
    (r"\\mod_\w+\\event\\course_module_viewed", 0.5),
    (r"\\mod_forum\\event\\discussion_viewed", 0.1),
)
"""Event names of views of courses, modules and posts, and their shares of all added views. Moodle
logs the reading of posts as one view of their discussion."""

_AFTER_SECONDS = 300
"""A view is at most so long after the one that it copies."""


def add_option(parser: argparse.ArgumentParser) -> None:
    """Give a benchmark the option ``--mix``."""
    parser.add_argument(
        "--mix",
        choices=MIXES,
        default=DUMP,
        help="views: 80 rows of 100 are views of courses, modules and posts (default: as the dump)",
    )


def with_views(
    names: Sequence[str | None], times: npt.NDArray[np.int64], chance: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All rows of a log, and four views for each of them, in the order of time.

    The views are those of the log, again: a few minutes later, of the same person, of the same
    thing.

    Args:
        names: event name of each row.
        times: Unix time of each row, ascending.
        chance: decides which views return, and when.

    Returns:
        For each row of the longer log, the row that it copies, and its time.

    Raises:
        ValueError: the log has no views of one of these kinds.
    """
    added: list[npt.NDArray[np.int64]] = []
    number = _VIEWS_FOR_EACH_ROW * len(names)
    for pattern, share in _KINDS:
        of_kind = [row for row, name in enumerate(names) if name and re.fullmatch(pattern, name)]
        if not of_kind:
            raise ValueError(f"There are no views whose event name matches {pattern}.")
        added.append(chance.choice(np.array(of_kind), round(share * number)))
    rows = np.concatenate([np.arange(len(names)), *added])
    later = chance.integers(0, _AFTER_SECONDS, len(rows))
    later[: len(names)] = 0
    moments = times[rows] + later
    order = np.argsort(moments, kind="stable")
    return rows[order], moments[order]

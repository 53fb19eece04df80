"""Revisions of the mapping: which state of the code made an event, and which one expanded a row.

A stored hour and a batch of the ledger carry the revision they were made under, so that a release
that changes every event of history does not send history again (``docs/reliability.md``). Files and
ledgers that carry none were written before there were revisions; they count as the oldest one.

The numbers stand here, below all other parts: the translator decides them, the partition store
keeps them, the emitter compares them, and none of these imports another.
"""

from __future__ import annotations

from collections.abc import Mapping

OLDEST_REVISION = 1
"""The revision of stored hours and batches that carry none."""

PRUNED_REVISION = 0
"""The revision of batches of an hour whose expanded rows were deleted after their time.

Nobody can make their content again: names, roles and grades of that time are gone. So such an event
counts as acknowledged by its id, with whatever content it is made again.
"""

MAPPING_REVISION = 3
"""The revision of the events that this release makes; of a site that moved see ``site_identity``.

Raise it by one in every release in which the JSON of an event changes for the same expanded row,
even if only the order of its properties does. It stays below 125 (`revision_in`). 2: the JSON
of an entity begins with its type, and the corrections of the audit (``CHANGELOG.md``). 3: texts
leave by their class, and of ``other`` only what its keys say to be harmless.
"""

EXPANSION_REVISION = 2
"""The revision of the rows that this release expands.

Raise it by one, and `MAPPING_REVISION` with it, in every release in which ``expand`` records other
facts for the same log row and the same Moodle database. 2: roles and names of the time, attempts by
the grading method, states before, id numbers.
"""

REVISIONS_OF_ADDRESS = 1_000
"""Mapping revisions that an address of a site has room for (``site_identity``)."""

_REVISIONS_OF_SHAPE = 250
_REVISIONS_OF_PROFILE = 125

_MAPPING_KEY = "mapping_revision"
_EXPANSION_KEY = "expansion_revisions"


def revision_in(revision: int, shape: int, profile: int = 0) -> int:
    """The mapping revision of events in a shape, under a privacy profile.

    The JSON of an event differs from shape to shape, and from profile to profile. If that made it a
    changed event, a new shape or profile in the settings would send history again.

    Args:
        revision: the mapping revision of the site, whatever the shape and the profile.
        shape: the number of the shape, from 0 to 3; 0 is the shape of earlier releases.
        profile: the number of the profile, 0 or 1. Two profiles have the same number if no event
            has the same id under both.
    """
    return revision + _REVISIONS_OF_SHAPE * shape + _REVISIONS_OF_PROFILE * profile


def mapping_stats(revision: int) -> dict[str, object]:
    """What the footer of an hour of ``caliper_events`` records when it is written.

    Args:
        revision: the mapping revision of the site (``core.site_identity``).
    """
    return {_MAPPING_KEY: revision}


def mapping_revision(stats: Mapping[str, object]) -> int:
    """The mapping revision of an hour of ``caliper_events``, from its footer."""
    return int(str(stats.get(_MAPPING_KEY, OLDEST_REVISION)))


def expansion_stats(
    previous: Mapping[str, object] | None, *, kept: int, expanded: int
) -> dict[str, object]:
    """What the footer of an hour of ``expanded_log`` records when it is written.

    Args:
        previous: the footer of the file that is replaced; None when there was none.
        kept: number of rows taken over from that file.
        expanded: number of rows expanded now.
    """
    revisions = set(expansion_revisions(previous or {})) if kept else set()
    if expanded or not kept:
        revisions.add(EXPANSION_REVISION)
    return {_EXPANSION_KEY: sorted(revisions)}


def expansion_revisions(stats: Mapping[str, object]) -> tuple[int, ...]:
    """The revisions under which the rows of an hour of ``expanded_log`` were expanded, ascending.

    More than one: the hour was opened again for late rows, and keeps what was known of the others.
    """
    revisions = stats.get(_EXPANSION_KEY)
    return tuple(revisions) if isinstance(revisions, list) else (OLDEST_REVISION,)


def is_of_later_release(stats: Mapping[str, object]) -> bool:
    """Whether a release with later revisions wrote an hour of any asset, from its footer."""
    # Address, shape and profile are no releases: each has revisions of its own.
    mapping = mapping_revision(stats) % REVISIONS_OF_ADDRESS % _REVISIONS_OF_PROFILE
    return mapping > MAPPING_REVISION or max(expansion_revisions(stats)) > EXPANSION_REVISION

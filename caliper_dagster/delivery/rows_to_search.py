"""What the leak check needs of persons and stored hours do not have, read from Moodle.

A name that is not stored can still stand in a text that leaves. So names are read from Moodle's
table of users when rows are searched, and addresses from its log. They are neither stored nor
logged. Without an answer of Moodle no event is made: an hour that cannot be searched is not sent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager

import pyarrow as pa

from caliper_dagster.core.errors import StorageError
from caliper_dagster.core.frames import EXPANDED_LOG
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.partition_file import StoredHour
from caliper_dagster.core.stored_fields import StoredFields, stored_fields_of
from caliper_dagster.expander import MoodleDatabase, with_addresses, with_names

OpenMoodle = Callable[[], AbstractContextManager[MoodleDatabase]]


class RowsToSearch:
    """Completes rows of hours for the leak check.

    Args:
        looked_for: the fields that the leak check looks for.
        open_moodle: opens the database; called only if stored rows lack one of these fields.
    """

    def __init__(self, looked_for: StoredFields, open_moodle: OpenMoodle | None) -> None:
        self._looked_for = looked_for
        self._open_moodle = open_moodle
        self._missing: dict[Hour, list[str]] = {}

    def note(self, expanded: StoredHour) -> None:
        """Take down what a stored hour lacks."""
        missing = stored_fields_of(expanded.stats()).missing(self._looked_for)
        if missing:
            self._missing[expanded.hour] = missing

    def __call__(self, hours: Collection[Hour], rows: pa.Table) -> pa.Table:
        """Rows with what their hours lack.

        Args:
            hours: those of the rows; `note` knows them.
            rows: ``EXPANDED_LOG`` rows, with ``id``, ``timecreated`` and the columns that hold
                values of persons at least.

        Raises:
            ConfigurationError: the database cannot be opened.
            SourceError: it did not answer.
            StorageError: the rows lack something, and there is no database to ask.
        """
        lacking = [hour for hour in hours if hour in self._missing]
        if not lacking:
            return rows
        if self._open_moodle is None:
            raise StorageError(
                f"{EXPANDED_LOG.name} of {min(lacking)} was stored without "
                f"{' and '.join(self._missing[min(lacking)])}, which the leak check looks for: it "
                "needs Moodle's database."
            )
        with self._open_moodle() as database:
            if self._looked_for.names:
                rows = with_names(database, rows)
            if self._looked_for.addresses == "whole":
                rows = with_addresses(database, rows)
        return rows

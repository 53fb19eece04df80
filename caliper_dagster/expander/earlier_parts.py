"""An hour in parts: what the expansion of the earlier parts leaves for the next one.

Two columns of a row depend on other rows of its hour: its session on earlier log-ins and log-outs,
and the same grading told before on earlier gradings. What later parts need of these is kept, so an
hour that is expanded in parts, in their order, gets the same rows as one that is expanded whole.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.core.frames import MOODLE_LOG
from caliper_dagster.expander.lookups.gradings import OpenGradings
from caliper_dagster.expander.lookups.sessions import SESSION_CHANGES


class EarlierParts:
    """The earlier parts of one hour.

    Attributes:
        start: Unix time of the hour's first row; None before there is one.
        session_changes: the log-ins and log-outs, as ``MOODLE_LOG`` rows.
        gradings: the gradings that a later row may tell again.
    """

    def __init__(self) -> None:
        self.start: int | None = None
        self.session_changes = MOODLE_LOG.empty()
        self.gradings = OpenGradings()

    def add(self, log: pa.Table) -> None:
        """Add a part that has been expanded.

        Args:
            log: its ``MOODLE_LOG`` rows.
        """
        if not log.num_rows:
            return
        if self.start is None:
            self.start = int(pc.min(log["timecreated"]).as_py())
        names = log["eventname"].cast(pa.string())
        changes = log.filter(pc.is_in(names, pa.array(SESSION_CHANGES)))
        if changes.num_rows:
            both = pa.concat_tables([self.session_changes, changes])
            self.session_changes = both.unify_dictionaries().combine_chunks()

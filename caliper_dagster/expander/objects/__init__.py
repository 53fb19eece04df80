"""The objects of log rows: what each row was done to, as it was at the time of the row.

Moodle's tables hold the present. Where an object changed after the row, a loader undoes the change
(an attempt that was not finished yet) or reads the history (a grade that was changed since). Where
Moodle keeps no history, the row gets today's value.

``loader`` defines the types of this package, ``registry`` says which loader a row has, and ``fill``
assigns the objects to the rows. Most objects are one record of one table (``tables``). The others
have a module by their subject.
"""

from caliper_dagster.expander.objects.fill import fill, fill_by_id
from caliper_dagster.expander.objects.loader import (
    LogReference,
    Lookup,
    ObjectByIdLoader,
    ObjectLoader,
)
from caliper_dagster.expander.objects.log_references import by_loader, log_references
from caliper_dagster.expander.objects.registry import EVENT_LOADERS, LOADERS, loader_for

__all__ = [
    "EVENT_LOADERS",
    "LOADERS",
    "LogReference",
    "Lookup",
    "ObjectByIdLoader",
    "ObjectLoader",
    "by_loader",
    "fill",
    "fill_by_id",
    "loader_for",
    "log_references",
]

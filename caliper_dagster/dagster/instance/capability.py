"""Whether the installed Dagster is one whose events may be written in bulk.

The interface of a storage class is not documented, so any patch of Dagster may change it. No list
of versions decides: a new patch that changes nothing works at once. Two tests do.

* `require` compares what ``bulk_events`` and its subclasses rely on with the installed Dagster,
  whenever a storage is opened: the columns of the tables that they write to, and the parameters of
  the methods that they call and override. It reads no database.
* `require_same_rows` writes a few events both ways, Dagster's and ours, and compares the rows, once
  per instance and version. Nothing of it stays in the database.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from inspect import Parameter, signature
from types import FunctionType
from typing import TYPE_CHECKING, Any

import dagster as dg
import sqlalchemy as sa

import caliper_dagster

if TYPE_CHECKING:
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

Rows = dict[str, list[tuple[object, ...]]]
"""Rows by table."""


class UnsuitedError(Exception):
    """The events of this version of Dagster are not written in bulk.

    The text is the reason, without a full stop, and holds nothing that is secret.
    """


def require(
    ours: Collection[type],
    tables: Mapping[sa.Table, Collection[str]],
    calls: Mapping[Callable[..., Any], Sequence[str]],
) -> None:
    """Compare what our storage classes rely on with the installed Dagster.

    Args:
        ours: classes that override methods of Dagster's.
        tables: the columns of each table that we write to, as far as we know them.
        calls: Dagster's methods that we call, and what we pass, by position.

    Raises:
        UnsuitedError: something is not as our classes need it.
    """
    for table, columns in tables.items():
        different = sorted({column.name for column in table.columns} ^ set(columns))
        if different:
            raise UnsuitedError(
                f"its table {table.name} has other columns than expected ({', '.join(different)})"
            )
    for method, names in calls.items():
        first, rest = _split(method, len(names))
        if [parameter.name for parameter in first] != list(names) or not all(map(_optional, rest)):
            raise UnsuitedError(f"its method {method.__qualname__} has other parameters")
    for overridden, own in _overrides(ours):
        if list(signature(overridden).parameters) != list(signature(own).parameters):
            raise UnsuitedError(f"its method {overridden.__qualname__} has other parameters")


def _split(
    method: Callable[..., Any], number: int
) -> tuple[Sequence[Parameter], Sequence[Parameter]]:
    """The first parameters after ``self``, and the others."""
    parameters = list(signature(method).parameters.values())[1:]
    return parameters[:number], parameters[number:]


def _optional(parameter: Parameter) -> bool:
    return parameter.default is not Parameter.empty


def _overrides(ours: Collection[type]) -> Iterator[tuple[Callable[..., Any], Callable[..., Any]]]:
    """Pairs of Dagster's method and ours; constructors are called by us alone."""
    for kind in ours:
        for name, own in vars(kind).items():
            if isinstance(own, FunctionType) and name != "__init__":
                overridden = getattr(super(kind, kind), name, None)
                if overridden is not None:
                    yield overridden, own


def require_same_rows(storage: SqlEventLogStorage, write_and_read: Callable[[bool], Rows]) -> None:
    """Write events in Dagster's way and in ours, and compare the rows; once per instance.

    Args:
        storage: our storage of the instance, in which it is noted that this version was compared.
        write_and_read: writes the same events each time, with True in our way, and returns their
            rows; nothing of them may stay.

    Raises:
        UnsuitedError: the rows differ, or could not be compared.
    """
    mark = f"caliper_dagster {caliper_dagster.__version__}: bulk events, Dagster {dg.__version__}"
    if storage.has_secondary_index(mark):
        return
    try:
        expected, found = write_and_read(False), write_and_read(True)
    except Exception as error:
        # The text of a foreign error may hold an address or a password.
        raise UnsuitedError(
            f"writing them in bulk could not be tried out ({type(error).__name__})"
        ) from error
    different = sorted(name for name in expected if expected[name] != found[name])
    if different:
        raise UnsuitedError(f"it writes other rows to {' and '.join(different)}")
    storage.enable_secondary_index(mark)

"""Metadata of materializations and column schemas of assets, as the web UI shows them.

Dagster stores the metadata of an hour with every materialization: it stays below 1 kB. Numbers are
entries of their own, because Dagster plots numbers and not JSON. The preview is made for one hour
of a run only.
https://docs.dagster.io/guides/build/assets/metadata-and-tags
"""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, TypeAlias

import dagster as dg
import pyarrow as pa

from caliper_dagster.core.errors import CaliperDagsterError
from caliper_dagster.core.frames import Frame
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.row_accounting import Account, DeliveryCounts

Preview: TypeAlias = tuple[Hour, Mapping[str, Any]] | None
"""An hour, and its metadata with a preview."""

_NAMES_BYTES = 120
_NAME_LENGTH = 40
_PREVIEW_ROWS = 5
_CELL_LENGTH = 60
_PREVIEW_COLUMNS = (
    *("eventname", "event_name", "component", "action", "objecttable", "contextlevel", "origin"),
    *("outcome", "event_type", "profile", "recipe"),
    *("events", "bytes", "attempts", "http_status"),
)
"""The columns of a preview, as far as a frame has them."""
_FROM_LOG = {"eventname", "event_name", "component", "action", "objecttable", "origin"}
"""Those of them that a log row fills; a plugin can write anything into its row."""
_NAME_OF_CODE = re.compile(r"(?:\\[A-Za-z0-9_]+\\event\\)?[A-Za-z0-9_]+")
_NO_NAME = "no name of an event"


def hour_metadata(
    uri: str, rows: int, seconds: float, numbers: Mapping[str, Any]
) -> dict[str, Any]:
    """The metadata of one hour of any asset.

    Args:
        uri: of the hour's file.
        rows: rows of the partition.
        seconds: how long it took to make it.
        numbers: further numbers by their names in the web UI.
    """
    return {
        "dagster/row_count": rows,
        **numbers,
        "seconds": round(seconds, 3),
        "dagster/uri": uri,
    }


def account_metadata(account: Account) -> dict[str, Any]:
    """The numbers of an hour of ``caliper_events``."""
    numbers = {
        "log rows": account.rows,
        "events": account.events,
        "derived events": account.derived,
        "events by type": _shortened(account.by_type),
        "log rows by event": _shortened(_of_code(account.by_name)),
        "filtered": sum(account.filtered.values()),
        "filtered by rule": _shortened(account.filtered),
        "failed": sum(account.failed.values()),
        "failed by reason": _shortened(account.failed),
        "unexplained rows": account.unexplained,
    }
    return {
        **{name: number for name, number in numbers.items() if number != {}},
        **_plotted("events", account.by_profile),
        **_plotted("log rows, recipe", {"fallback": 0, **account.by_resolution}),
    }


def _of_code(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts by event; a plugin can write anything for the name, such as a person's."""
    shown: dict[str, int] = {}
    for name, number in counts.items():
        label = name if _NAME_OF_CODE.fullmatch(name) else _NO_NAME
        shown[label] = shown.get(label, 0) + number
    return shown


def _plotted(what: str, counts: Mapping[str, int]) -> dict[str, float]:
    """Counts by name as numbers of their own, which the web UI plots over the hours."""
    return {f"{what} {name}": float(number) for name, number in counts.items()}


def delivery_metadata(hour: Hour, delivery: DeliveryCounts, backlog: int | None) -> dict[str, Any]:
    """The numbers of an hour of ``emission_results``.

    Args:
        hour: it has just been received.
        delivery: its counts.
        backlog: hours in the backlog of the event store when the run began; None where there is
            only one event store, which has none.
    """
    numbers: dict[str, Any] = {
        "events": delivery.events,
        "acknowledged": delivery.acknowledged,
        "acknowledged before": delivery.already_acknowledged,
        "sent": delivery.sent,
        "rejected": delivery.rejected,
        "outstanding": delivery.outstanding,
        "envelopes": delivery.envelopes,
        "bytes": delivery.bytes,
        "lateness (minutes)": round(max(0.0, time.time() - hour.end) / 60, 1),
    }
    if backlog is not None:
        numbers["backlog (hours)"] = backlog
    if delivery.changed:
        numbers["changed and not sent again"] = delivery.changed
    if delivery.filtered:
        numbers["filtered"] = sum(delivery.filtered.values())
        numbers["filtered by rule"] = _shortened(delivery.filtered)
    if delivery.filtered_rows:
        numbers["log rows filtered"] = sum(delivery.filtered_rows.values())
        numbers["log rows filtered by rule"] = _shortened(delivery.filtered_rows)
    if delivery.withheld:
        numbers["withheld"] = sum(delivery.withheld.values())
        numbers["withheld by reason"] = _shortened(delivery.withheld)
    return numbers


def preview(store: PartitionStore, frame: Frame, rows_of: Mapping[Hour, int]) -> Preview:
    """The first rows of the newest hour that has rows, without personal data; None without one.

    An hour that cannot be read has no preview: whoever reads it next says what is wrong with it.

    Args:
        store: holds the hours.
        frame: their table.
        rows_of: the rows of each hour.
    """
    newest = max((hour for hour, rows in rows_of.items() if rows), default=None)
    if newest is None:
        return None
    columns = preview_columns(frame)
    try:
        with closing(store.open(frame, newest)) as stored:
            rows = next(stored.parts(_PREVIEW_ROWS, columns))
    except CaliperDagsterError:
        return None
    lines = [columns, ("---",) * len(columns)]
    lines += [tuple(map(_cell, columns, row.values())) for row in rows.to_pylist()]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return newest, {"preview": dg.MetadataValue.md(table)}


def preview_columns(frame: Frame) -> tuple[str, ...]:
    """The columns of a preview: never one that can identify a person."""
    columns = {column.name for column in frame.columns if not column.personal}
    return tuple(name for name in _PREVIEW_COLUMNS if name in columns)


def _cell(column: str, value: object) -> str:
    """A value as code, in which Markdown has no meaning; what would end the code is left out.

    Of the texts of a log row only names of code are shown.
    """
    if value is None or (column in _FROM_LOG and not _NAME_OF_CODE.fullmatch(str(value))):
        return ""
    shown = "".join(letter for letter in str(value) if letter.isprintable() and letter not in "|`")
    return f"`{shown[:_CELL_LENGTH]}`" if shown else ""


def _shortened(counts: Mapping[str, int]) -> dict[str, int]:
    """The first counts by name, as many as fit; the sum of the rest under ``others``."""
    shown: dict[str, int] = {}
    room = _NAMES_BYTES
    for name, number in counts.items():
        label = name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"
        room -= len(label) + 12
        label = label if room > 0 else "others"
        shown[label] = shown.get(label, 0) + number
    return shown


def code_references(function: Callable[..., Any]) -> dg.CodeReferencesMetadataValue:
    """Where the body of an asset is written: the web UI opens it in an editor.

    ``dg.link_code_references_to_git`` turns it into the address in a repository.
    """
    file, line = inspect.getsourcefile(function), inspect.getsourcelines(function)[1]
    place = dg.LocalFileCodeReference(file_path=str(file), line_number=line)
    return dg.CodeReferencesMetadataValue(code_references=[place])


def column_schema(frame: Frame) -> dg.TableSchema:
    """The columns of an asset, with their meaning."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                _type_name(column.type),
                description=column.meaning,
                tags={"personal": ""} if column.personal else {},
            )
            for column in frame.columns
        ]
    )


def _type_name(kind: pa.DataType) -> str:
    """The type of the values; that a column is dictionary-encoded does not matter to a reader."""
    return str(kind.value_type if pa.types.is_dictionary(kind) else kind)

"""The numbers and schemas that the web UI shows for each hour."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from caliper_dagster.core.frames import Frame
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.row_accounting import Account, DeliveryCounts

_NAMES_BYTES = 200
_NAME_LENGTH = 40


class Stopwatch:
    """Seconds since the last look."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap, or since the start."""
        before, self._last = self._last, time.perf_counter()
        return self._last - before


def show(
    context: dg.AssetExecutionContext,
    hour: Hour,
    rows: pa.Table,
    seconds: float,
    numbers: Mapping[str, Any],
) -> None:
    """Put an hour's numbers on its materialization: below 1 kB, it is stored for every hour."""
    shown = metadata(rows.num_rows, seconds, numbers)
    context.add_asset_metadata(shown, partition_key=hour.key)


def metadata(rows: int, seconds: float, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of one hour."""
    return {"dagster/row_count": rows, **numbers, "seconds": round(seconds, 3)}


def numbers(account: Account) -> dict[str, Any]:
    """The numbers of an hour of ``caliper_events``."""
    numbers = {
        "log rows": account.rows,
        "events": account.events,
        "derived events": account.derived,
        "events by type": _shortened(account.by_type),
        "log rows by event": _shortened(account.by_name),
        "events by recipe": _shortened(account.by_resolution),
        "filtered": sum(account.filtered.values()),
        "filtered by rule": _shortened(account.filtered),
        "failed": sum(account.failed.values()),
        "failed by reason": _shortened(account.failed),
        "unexplained rows": account.unexplained,
    }
    return {name: number for name, number in numbers.items() if number != {}}


def numbers_sent(delivery: DeliveryCounts) -> dict[str, Any]:
    """The numbers of an hour of ``emission_results``."""
    numbers: dict[str, Any] = {
        "events": delivery.events,
        "acknowledged": delivery.acknowledged,
        "acknowledged before": delivery.already_acknowledged,
        "sent": delivery.sent,
        "rejected": delivery.rejected,
        "outstanding": delivery.outstanding,
        "envelopes": delivery.envelopes,
        "bytes": delivery.bytes,
    }
    if delivery.changed:
        numbers["changed and not sent again"] = delivery.changed
    if delivery.filtered:
        numbers["filtered"] = sum(delivery.filtered.values())
        numbers["filtered by rule"] = _shortened(delivery.filtered)
    return numbers


def _shortened(counts: Mapping[str, int]) -> dict[str, int]:
    """The largest numbers by name, as many as fit; the rest as one."""
    shown: dict[str, int] = {}
    room = _NAMES_BYTES
    for name, number in counts.items():
        word = name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"
        room -= len(word) + 12
        word = word if room > 0 else "others"
        shown[word] = shown.get(word, 0) + number
    return shown


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
    """The type of the values: how the file shares repeated ones says nothing to a reader."""
    return str(kind.value_type if pa.types.is_dictionary(kind) else kind)

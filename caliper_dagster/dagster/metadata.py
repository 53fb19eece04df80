"""Metadata of materializations and column schemas of assets, as the web UI shows them.

Dagster stores the metadata of an hour with every materialization: it stays below 1 kB.
https://docs.dagster.io/guides/build/assets/metadata-and-tags
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from caliper_dagster.core.frames import Frame
from caliper_dagster.core.row_accounting import Account, DeliveryCounts

_NAMES_BYTES = 200
_NAME_LENGTH = 40


def hour_metadata(rows: int, seconds: float, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of one hour of any asset.

    Args:
        rows: rows of the partition.
        seconds: how long it took to make it.
        numbers: further numbers by their names in the web UI.
    """
    return {"dagster/row_count": rows, **numbers, "seconds": round(seconds, 3)}


def account_metadata(account: Account) -> dict[str, Any]:
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


def delivery_metadata(delivery: DeliveryCounts) -> dict[str, Any]:
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
    if delivery.withheld:
        numbers["withheld"] = sum(delivery.withheld.values())
        numbers["withheld by reason"] = _shortened(delivery.withheld)
    return numbers


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

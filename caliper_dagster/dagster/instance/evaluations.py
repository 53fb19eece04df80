"""The last evaluation of an asset check."""

from __future__ import annotations

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
)


def latest_evaluation(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey
) -> tuple[dg.AssetCheckEvaluation, float] | None:
    """The last evaluation of a check and its Unix time; None if there is none.

    Dagster's own latest record may be that of a run that has not come to the check, or never will.
    """
    records = instance.event_log_storage.get_asset_check_execution_history(
        key, limit=1, status=COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
    )
    for record in records:
        if record.event is not None and isinstance(record.evaluation, dg.AssetCheckEvaluation):
            return record.evaluation, record.event.timestamp
    return None

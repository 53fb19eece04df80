"""The files of runs: SQLite's file of each run, and the compute logs of its steps.

Dagster deletes neither when it deletes a run. Nothing here depends on undocumented interfaces more
than it can do without: where a storage has no such files, there are none to delete.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import dagster as dg

FINISHED = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]
UNFINISHED = [status for status in dg.DagsterRunStatus if status not in FINISHED]

BACKFILL_ID_TAG = "dagster/backfill"
"""On the runs of a backfill of Dagster's daemon, with its id."""

_RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SUFFIXES = (".db", ".db-wal", ".db-shm")
_COMPUTE_LOGS = "compute_logs"
_LEFT_BEHIND_SECONDS = 3600
"""What belongs to no run stays for so long: a process may still be deleting that run."""

_BACKFILL_ENDED = {"COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "CANCELED", "FAILED"}


def unfinished_backfills(instance: dg.DagsterInstance) -> list[str]:
    """The ids of the backfills of Dagster's daemon that have not ended."""
    return [
        backfill.backfill_id
        for backfill in instance.get_backfills()
        if backfill.status.value not in _BACKFILL_ENDED
    ]


def delete_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete one run as Dagster does, and the files that Dagster leaves behind."""
    instance.delete_run(run_id)
    RunFiles(instance).delete([run_id])


class RunFiles:
    """The files of the runs of an instance.

    Args:
        instance: whose event log may be in SQLite, and whose compute logs may be in a folder.
    """

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance, storage = instance, instance.event_log_storage
        path_of = getattr(storage, "path_for_shard", None)
        self._events = Path(path_of("index")).parent if path_of else None
        self._close = getattr(storage, "close_runs", None)
        folder = getattr(instance.compute_log_manager, "get_captured_local_path", None)
        self._logs = Path(folder(["name"], "out")).parent if folder else None

    def size(self, run_ids: Collection[str]) -> int:
        """The size of all files of some runs, in bytes."""
        return sum(map(_size, self._of_runs(run_ids)))

    def delete(self, run_ids: Collection[str]) -> None:
        """Delete all files of some runs."""
        if self._close:
            self._close(run_ids)
        for path in self._of_runs(run_ids):
            _delete(path)

    def left_behind(self) -> dict[str, list[Path]]:
        """The files of runs that no longer exist, by the id of the run."""
        newest = time.time() - _LEFT_BEHIND_SECONDS
        files: dict[str, list[Path]] = {}
        # Listed before the runs are: the file of a run that begins now is not among them.
        for path in self._all():
            if 0 < _changed_at(path) < newest:
                files.setdefault(path.name.partition(".")[0], []).append(path)
        for run_id in self._instance.get_run_ids() if files else ():
            files.pop(run_id, None)
        return files

    def compute_logs(self, limit: datetime) -> list[Path]:
        """The folders of compute logs that were begun before a time, of runs that have ended."""
        running = set(self._instance.get_run_ids(dg.RunsFilter(statuses=UNFINISHED)))
        return [
            folder / _COMPUTE_LOGS
            for folder in self._log_folders()
            if folder.name not in running
            and 0 < _changed_at(folder / _COMPUTE_LOGS) < limit.timestamp()
        ]

    def _of_runs(self, run_ids: Collection[str]) -> Iterator[Path]:
        for run_id in run_ids:
            if self._events:
                yield from (self._events / f"{run_id}{suffix}" for suffix in _SUFFIXES)
            if self._logs:
                yield self._logs / run_id

    def _all(self) -> Iterator[Path]:
        if self._events:
            for entry in os.scandir(self._events):
                run_id, _, suffix = entry.name.partition(".")
                if f".{suffix}" in _SUFFIXES and _RUN_ID.fullmatch(run_id):
                    yield Path(entry.path)
        yield from self._log_folders()

    def _log_folders(self) -> Iterator[Path]:
        if self._logs and self._logs.is_dir():
            yield from (path for path in self._logs.iterdir() if _RUN_ID.fullmatch(path.name))


def delete_all(paths: Collection[Path], *, plan: bool = False) -> int:
    """Delete files and folders.

    Args:
        paths: what to delete.
        plan: delete nothing.

    Returns:
        Their size in bytes.
    """
    size = sum(map(_size, paths))
    if not plan:
        for path in paths:
            _delete(path)
    return size


def _delete(path: Path) -> None:
    """Delete a file, or a folder with all that is in it; another process may have done so."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _changed_at(path: Path) -> float:
    """Unix time of the last change; 0 if there is no such file."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; 0 if there is none."""
    with suppress(FileNotFoundError):
        if path.is_dir():
            return sum(_size(inner) for inner in path.iterdir())
        return path.stat().st_size
    return 0

"""Moodle's own deletions and data requests: who is to be erased, and whose data are asked for.

Two tables of Moodle say that: ``user`` (``deleted``) and ``tool_dataprivacy_request``, which early
versions and sites without that plugin lack. Rows that vanished from the log say nothing, for the
log's lifetime looks the same. What was answered is a tombstone or a mark in the ledger, so each
request is answered once, whoever asks how often.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from caliper_dagster.config.connections import open_ledger, open_moodle, open_store
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.wording import plural
from caliper_dagster.delivery.persons.erase import Erased, erase
from caliper_dagster.delivery.persons.export import export

FOLDER = "person_exports"
"""The folder of exports, in the storage, or in ``DAGSTER_HOME`` where that is an object store."""

_EXPORT = "export"
_REQUESTS = "tool_dataprivacy_request"
_EXPORT_TYPE, _DELETION_TYPE = 1, 2
_APPROVED = frozenset({3, 4, 5, 8})
"""Approved, processing, complete, download ready."""

_DELETED = frozenset({5, 10})
"""Complete, and deleted; Moodle writes the latter before the account itself is deleted."""


@dataclass(frozen=True, slots=True)
class Pending:
    """What has to be done.

    Attributes:
        erasures: ids of users who are to be erased.
        exports: the user whose data are asked for, by request.
    """

    erasures: frozenset[int]
    exports: Mapping[int, int]

    def __bool__(self) -> bool:
        return bool(self.erasures or self.exports)


def pending(settings: Settings) -> Pending:
    """What Moodle asks for and has not been done; two statements to Moodle, one to the ledger.

    Raises:
        ConfigurationError: Moodle's database or the ledger cannot be used.
        SourceError: Moodle's database did not answer.
        StorageError: the ledger failed.
    """
    with open_moodle(settings) as database:
        deleted = database.records(
            "user", ("id",), condition="deleted = 1", condition_columns=("deleted",)
        )
        requests = database.records(_REQUESTS, ("id", "type", "userid", "status"))
    users = {record["id"] for record in deleted}
    users |= {
        request["userid"]
        for request in requests
        if request["type"] == _DELETION_TYPE and request["status"] in _DELETED
    }
    exports = {
        request["id"]: request["userid"]
        for request in requests
        if request["type"] == _EXPORT_TYPE and request["status"] in _APPROVED
    }
    with open_ledger(settings) as ledger:
        tombstones = ledger.tombstones(settings.identity().site_id)
        unanswered = tombstones.unanswered(_EXPORT, exports)
        return Pending(
            frozenset(tombstones.unfinished(users)),
            {request: exports[request] for request in unanswered if exports[request] not in users},
        )


def answer(settings: Settings, wanted: Pending) -> list[str]:
    """Do what Moodle asks for.

    Returns:
        What was done, in sentences that name nobody.

    Raises:
        ConfigurationError: see `pending`.
        StorageError: see `pending`, or a stored hour cannot be read.
    """
    sentences = []
    for request, user in sorted(wanted.exports.items()):
        folder = exports_folder(settings) / f"request-{request}"
        # A run that was killed has left a part of it.
        shutil.rmtree(folder, ignore_errors=True)
        export(settings, user, folder)
        with open_ledger(settings) as ledger:
            ledger.tombstones(settings.identity().site_id).answer(_EXPORT, [request])
        sentences.append(
            f"The data that Moodle's data request {request} asks for are in {folder}: hand them "
            "over, then delete the folder."
        )
    if wanted.erasures:
        erased = erase(settings, wanted.erasures)
        delete_exports(settings, wanted.erasures)
        sentences.append(_erasure_sentence(len(wanted.erasures), erased))
        sentences.extend(
            f"{name} still holds {plural(erased.held[name], 'event')} about erased persons, which "
            f"{place} lists."
            for name, place in erased.lists.items()
        )
    return sentences


def _erasure_sentence(persons: int, erased: Erased) -> str:
    return (
        f"Erased {plural(persons, 'person')} whom Moodle has deleted: "
        f"{plural(erased.rows, 'log row')}, {plural(erased.events, 'event')}."
    )


def delete_exports(settings: Settings, users: Collection[int]) -> None:
    """Delete the exports that were made for requests of some users."""
    with open_moodle(settings) as database:
        requests = database.records(_REQUESTS, ("id",), {"userid": users})
    for request in requests:
        shutil.rmtree(exports_folder(settings) / f"request-{request['id']}", ignore_errors=True)


def exports_folder(settings: Settings) -> Path:
    """Where exports for Moodle's data requests are.

    Raises:
        ConfigurationError: the storage is an object store, and ``DAGSTER_HOME`` is not set.
    """
    folder = open_store(settings).local_folder()
    if folder is None:
        home = os.environ.get("DAGSTER_HOME")
        if not home:
            raise ConfigurationError(
                "DAGSTER_HOME is not set, and CALIPER_STORAGE is an object store: set DAGSTER_HOME "
                "to a folder that stays, in which exports for data requests are kept."
            )
        folder = Path(home)
    return folder / FOLDER

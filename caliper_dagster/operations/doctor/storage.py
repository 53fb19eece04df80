"""Where partitions, the ledger and Dagster's records are: whether they work, and are closed."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from caliper_dagster.config.connections import open_ledger, open_store
from caliper_dagster.config.declaration import secret_of
from caliper_dagster.config.event_stores import event_stores
from caliper_dagster.config.settings import Settings
from caliper_dagster.core import file_modes as modes
from caliper_dagster.core.errors import CaliperDagsterError
from caliper_dagster.core.folder_url import is_local
from caliper_dagster.core.partition_store import DigestCounts, PartitionStore
from caliper_dagster.core.wording import plural
from caliper_dagster.dagster.instance.open import HOME
from caliper_dagster.dagster.instance.storage import POSTGRES_URL
from caliper_dagster.operations.doctor.findings import Finding, broken, fine, warn

_DAYS_MEASURED = 30
_DAYS_LEFT = 7
"""Days for which the disk should have room; with less there is a warning."""

_DAY_OF_PARTITIONS = 1_000_000_000
_DAY_OF_RECORDS = 100_000_000
"""Bytes that a day is taken to need before an hour is stored, and of Dagster's own in SQLite."""


def partitions(settings: Settings) -> Iterator[Finding]:
    """Whether the storage can be written to, and its files be checked for damage."""
    storage = open_store(settings)
    storage.probe()
    yield fine("Storage", "can be written to")
    counts = storage.digest_counts()
    yield _digests(counts)
    if storage.keys or counts.otherwise_encrypted:
        yield _encryption(counts, encrypts=storage.keys is not None)


def _digests(counts: DigestCounts) -> Finding:
    """How many stored hours are read without a check. Nothing has to be done about them."""
    if not counts.files:
        return fine("Digests", "no hour is stored yet")
    of_files = plural(counts.files, "file")
    if counts.examined < counts.files:
        of_files = f"the newest {counts.examined:,} of {of_files}"
    if not counts.without:
        return fine("Digests", f"every one of {of_files} carries a digest")
    return fine(
        "Digests",
        f"{counts.without:,} of {of_files} have none, because an earlier release wrote them; "
        "damage to those can go unnoticed. A file gets one when its hour is materialized again",
    )


def _encryption(counts: DigestCounts, *, encrypts: bool) -> Finding:
    """Whether stored hours are encrypted as the settings say."""
    of_files = plural(counts.examined, "file")
    if not counts.otherwise_encrypted:
        return fine("Encryption", f"every one of {of_files} is encrypted with the present key")
    number = f"{counts.otherwise_encrypted:,} of {of_files}"
    if encrypts:
        return warn(
            "Encryption",
            f"{number} are in the clear, or encrypted with a former key.",
            "`caliper-dagster storage protect` writes them again.",
        )
    return broken(
        "Encryption",
        f"{number} are encrypted, and CALIPER_STORAGE_KEY is not set: they cannot be read.",
        "Set CALIPER_STORAGE_KEY to the key that they were written with.",
    )


def ledger(settings: Settings) -> Iterator[Finding]:
    """Whether the ledger can be opened."""
    with open_ledger(settings):
        yield fine("Ledger", "answers")


def is_beside_storage(settings: Settings) -> bool:
    """Whether the ledger is a file in the folder of the storage, and cannot work without it."""
    reference = settings.ledger_url
    with suppress(CaliperDagsterError):
        return reference is None or reference.value("CALIPER_LEDGER_URL") is None
    return False


@dataclass(slots=True)
class _Disk:
    """A file system: a folder on it, and the bytes that a day needs there."""

    folder: Path
    needed: int = 0
    is_measured: bool = True


def disk(sites: Sequence[Settings]) -> Iterator[Finding]:
    """Whether there is room for the next days, on each file system that files are written to."""
    disks: dict[int, _Disk] = {}
    for folder, needed, is_measured in _needs(sites):
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        found = disks.setdefault(existing.stat().st_dev, _Disk(existing))
        found.needed += needed
        found.is_measured &= is_measured
    return map(_room, disks.values())


def _needs(sites: Sequence[Settings]) -> Iterator[tuple[Path, int, bool]]:
    """Folders, the bytes that a day needs in each, and whether stored hours tell so."""
    for settings in sites:
        # What cannot be read is reported with its setting.
        with suppress(CaliperDagsterError):
            storage = PartitionStore(settings.storage_url())
            folder = storage.local_folder()
            if folder is not None:
                largest = _largest_day(storage)
                yield folder, largest or _DAY_OF_PARTITIONS, bool(largest)
    home = os.environ.get(HOME)
    if home and not secret_of(POSTGRES_URL):
        yield Path(home).absolute(), _DAY_OF_RECORDS, True


def _largest_day(storage: PartitionStore) -> int:
    """The bytes of the largest of the newest days that are stored; 0 if none is."""
    days: Counter[date] = Counter()
    for hour, size in storage.hour_sizes().items():
        days[hour.datetime.date()] += size
    return max((days[day] for day in sorted(days)[-_DAYS_MEASURED:]), default=0)


def _room(found: _Disk) -> Finding:
    free = shutil.disk_usage(found.folder).free
    need = "the largest stored day needs" if found.is_measured else "a day is taken to need"
    room = f"{_size(free)} are free at {found.folder}; {need} {_size(found.needed)}"
    cure = "Free disk space, or set CALIPER_STORAGE to a place with more."
    if free < found.needed:
        return broken("Disk", f"{room}: hours will fail for lack of space.", cure)
    if free < _DAYS_LEFT * found.needed:
        days = plural(free // found.needed, "day")
        return warn("Disk", f"{room}: that is enough for about {days}.", cure)
    return fine("Disk", room)


def _size(number: int) -> str:
    unit, name = (1e9, "GB") if number >= 1e9 else (1e6, "MB")
    return f"{number / unit:,.1f} {name}"


def file_modes(sites: Sequence[Settings], *, fix: bool) -> Iterator[Finding]:
    """Whether other accounts of this machine may read what is stored in its folders."""
    subject = "File modes"
    found = {path for root in _roots(sites) for path in modes.too_open(root)}
    if fix:
        for path in found:
            try:
                modes.close(path)
            except OSError:
                yield warn(
                    subject,
                    f"{path} belongs to another account.",
                    "Run `caliper-dagster doctor --fix-modes` as that account.",
                )
        yield fine(subject, f"{plural(len(found), 'file or folder', 'files and folders')} closed")
    elif found:
        yield warn(
            subject,
            f"other accounts may read {plural(len(found), 'file or folder', 'files and folders')}, "
            f"such as {min(found)}.",
            "`caliper-dagster doctor --fix-modes` changes that.",
        )
    else:
        yield fine(subject, "no other account may read what is stored")


def _folders_of_sites(settings: Settings) -> Iterator[Path]:
    """The local folders of sites below those that are event stores."""
    for store in event_stores(settings):
        if store.is_folder:
            with store.open() as destination:
                if is_local(destination.address):
                    yield from Path(destination.address).glob("site=*")


def _roots(sites: Sequence[Settings]) -> Iterator[Path]:
    """The local folders and files that hold personal data, as far as they exist."""
    # In the project of somebody else, who may read Dagster's own records is for them to say.
    places = [os.environ.get(HOME, "")] if any(it.host is None for it in sites) else []
    for settings in sites:
        # A place that is not known is reported with its setting.
        with suppress(CaliperDagsterError):
            places.append(settings.storage_url())
            places.append(settings.ledger().removeprefix("sqlite:///"))
            places += map(str, _folders_of_sites(settings))
    for place in dict.fromkeys(place.removeprefix("file://") for place in places if place):
        if "://" not in place and Path(place).exists():
            yield Path(place).absolute()

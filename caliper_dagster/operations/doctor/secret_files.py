"""Files in which secrets stand: whether other accounts of this machine may read them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from operator import attrgetter
from pathlib import Path

from caliper_dagster.config.declaration import FILE_SUFFIX, Reference, declarations
from caliper_dagster.config.event_store_settings import EventStoreSettings
from caliper_dagster.config.event_stores import event_stores
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import CaliperDagsterError
from caliper_dagster.core.file_modes import too_open_for_secret
from caliper_dagster.dagster.instance.storage import POSTGRES_URL
from caliper_dagster.operations.doctor.findings import Finding, fine, warn

_SUBJECT = "Secret files"


def secret_files(sites: Sequence[Settings]) -> Iterator[Finding]:
    """The finding about each file with a secret that others may read; one if there is none.

    A file that cannot be read is reported with its setting.
    """
    files: dict[Path, str] = {}
    for settings in sites:
        for name, path in _files(settings):
            files.setdefault(path, name)
    if any(settings.host is None for settings in sites):
        place = os.environ.get(POSTGRES_URL + FILE_SUFFIX)
        files |= {Path(place).absolute(): POSTGRES_URL} if place else {}
    excess = {path: too_open_for_secret(path) for path in files}
    for path in sorted(path for path, rights in excess.items() if rights):
        mode = stat.S_IMODE(path.stat().st_mode)
        yield warn(
            _SUBJECT,
            f"other accounts may read {path} (mode {mode:o}), in which {files[path]} stands.",
            f"`chmod {mode & ~excess[path]:o} {path}`; if somebody may have read it, replace the "
            "secret, too.",
        )
    if files and not any(excess.values()):
        yield fine(_SUBJECT, "no other account may read them")


def _files(settings: Settings) -> Iterator[tuple[str, Path]]:
    """The names of settings, and the files in which their values stand."""
    for setting in declarations(Settings):
        for path in _referred(attrgetter(".".join(setting.path))(settings)):
            yield setting.variable, path
    if settings.event_stores is None:
        return
    with suppress(CaliperDagsterError):  # reported with the event stores
        for store in event_stores(settings):
            for setting in declarations(EventStoreSettings):
                for path in _referred(getattr(store, setting.key)):
                    yield f"{setting.key} of {store.label}", path


def _referred(held: object) -> Iterator[Path]:
    """The files that a value refers to, itself or under its names."""
    if isinstance(held, Reference) and held.file:
        yield Path(held.file).absolute()
    elif isinstance(held, tuple):
        for part in held:
            yield from _referred(part)

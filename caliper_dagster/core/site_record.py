"""The record of the site that a storage was made for: a small file beside the assets."""

from __future__ import annotations

import json
from contextlib import suppress
from hashlib import blake2b

from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.site_identity import SiteIdentity, SiteRecord

_STORAGE = SettingName("CALIPER_STORAGE")
_RECORD = "site.json"


def check_storage(storage: PartitionStore, identity: SiteIdentity) -> bool:
    """Make sure that a storage was made for a site.

    Returns:
        whether it records that; a storage of an earlier release records nothing.

    Raises:
        ConfigurationError: it was made for another one, or cannot be read.
    """
    return _checked(storage, identity) is not None


def claim_storage(storage: PartitionStore, identity: SiteIdentity) -> None:
    """Record the site in a storage that was made for it.

    Raises:
        ConfigurationError: it was made for another site, or cannot be read or written to.
    """
    record = SiteRecord(identity.site_id, identity.address)
    if _checked(storage, identity) != record:
        content = {
            "site_id": record.site_id,
            "address": record.address,
            "digest": _digest(record),
        }
        storage.write_note(_RECORD, json.dumps(content, indent=1).encode())


def _checked(storage: PartitionStore, identity: SiteIdentity) -> SiteRecord | None:
    """The record of the storage, which must be of the site; None where there is none."""
    record = _recorded(storage)
    if record is not None and record.site_id != identity.site_id:
        otherwise = ("give it a place of its own in ", _STORAGE)
        raise identity.mismatch("the storage", record, otherwise)
    return record


def _recorded(storage: PartitionStore) -> SiteRecord | None:
    content = storage.read_note(_RECORD)
    if content is None:
        return None
    with suppress(ValueError, TypeError, KeyError):
        held = json.loads(content)
        record = SiteRecord(str(held["site_id"]), str(held["address"]))
        if held["digest"] == _digest(record):
            return record
    raise ConfigurationError(
        Sentence(
            _STORAGE,
            f" is wrong: its file {_RECORD} is damaged. Remove the file; the next run writes it "
            "for the site of now.",
        )
    )


def _digest(record: SiteRecord) -> str:
    """Damage would otherwise name another site id, and the error would tell to set that."""
    return blake2b(f"{record.site_id}\n{record.address}".encode(), digest_size=16).hexdigest()

"""The identity of a site: revisions of its events, and what a storage was made for."""

from __future__ import annotations

from pathlib import Path

import pytest

from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.revisions import MAPPING_REVISION
from caliper_dagster.core.site_identity import SiteIdentity
from caliper_dagster.core.site_record import check_storage, claim_storage

OLD, NEW = "http://moodle.example.org", "https://moodle.example.org"
BEFORE = SiteIdentity(OLD, OLD)
CHANGED = SiteIdentity(NEW, NEW)
KEPT = SiteIdentity(OLD, NEW, chosen=True)


@pytest.fixture
def storage(tmp_path: Path) -> PartitionStore:
    return PartitionStore(str(tmp_path / "data"))


def test_a_site_at_the_address_of_its_id_has_the_revisions_of_the_release() -> None:
    assert BEFORE.mapping_revision == CHANGED.mapping_revision == MAPPING_REVISION


def test_each_further_address_has_revisions_of_its_own_for_ever() -> None:
    # These numbers are in ledgers and in stored hours.
    assert KEPT.mapping_revision == 1_387_748_000 + MAPPING_REVISION
    addresses = [f"https://{number}.example.org" for number in range(500)]
    revisions = {SiteIdentity(OLD, address).mapping_revision for address in addresses}
    assert len(revisions) == len(addresses)
    assert all(1000 < revision < 2**31 for revision in revisions)


def test_a_storage_knows_the_site_that_it_was_made_for(storage: PartitionStore) -> None:
    assert not check_storage(storage, BEFORE)
    assert not check_storage(storage, CHANGED)
    claim_storage(storage, BEFORE)
    assert check_storage(storage, BEFORE)
    assert check_storage(storage, KEPT)
    with pytest.raises(ConfigurationError) as error:
        check_storage(storage, CHANGED)
    assert str(error.value) == (
        f"MOODLE_WWWROOT is {NEW}, but the storage was made for {OLD}: the events would get other "
        f"ids and be sent again. If it is the same site, set CALIPER_SITE_ID={OLD}, which keeps "
        "the ids and what was sent. If it is another site, give it a place of its own in "
        "CALIPER_STORAGE."
    )
    with pytest.raises(ConfigurationError):
        claim_storage(storage, CHANGED)


def test_a_site_that_forgets_its_id_after_a_move_is_told_the_id(storage: PartitionStore) -> None:
    claim_storage(storage, BEFORE)
    claim_storage(storage, KEPT)
    with pytest.raises(ConfigurationError, match=rf"made for {OLD} \(at {NEW}\): .*_ID={OLD},"):
        check_storage(storage, CHANGED)
    # The way back is open, as is a further move.
    claim_storage(storage, BEFORE)
    claim_storage(storage, SiteIdentity(OLD, "https://new.example.org", chosen=True))


def test_an_id_that_is_not_the_storages_is_the_setting_to_mend(storage: PartitionStore) -> None:
    claim_storage(storage, BEFORE)
    with pytest.raises(ConfigurationError, match=r"^CALIPER_SITE_ID is moodle, but the storage"):
        claim_storage(storage, SiteIdentity("moodle", OLD, chosen=True))


def test_one_of_several_sites_is_told_where_the_line_belongs(storage: PartitionStore) -> None:
    claim_storage(storage, SiteIdentity(OLD, OLD, "north"))
    with pytest.raises(ConfigurationError) as error:
        claim_storage(storage, SiteIdentity(NEW, NEW, "north"))
    assert f"set CALIPER_SITE_ID: {OLD} for the site north in the file of CALIPER_SITES," in str(
        error.value
    )


def test_no_flipped_bit_makes_another_site(storage: PartitionStore) -> None:
    claim_storage(storage, BEFORE)
    content = storage.read_note("site.json")
    assert content is not None
    for bit in range(len(content) * 8):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        storage.write_note("site.json", bytes(flipped))
        try:
            found = "" if check_storage(storage, BEFORE) else "no record"
        except ConfigurationError as error:
            found = str(error)
        assert not found or "its file site.json is damaged" in found


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'"x"'])
def test_a_damaged_record_is_an_error_and_not_a_new_site(
    storage: PartitionStore, content: bytes
) -> None:
    storage.write_note("site.json", content)
    with pytest.raises(ConfigurationError, match=r"CALIPER_STORAGE is wrong: its file site\.json"):
        check_storage(storage, BEFORE)

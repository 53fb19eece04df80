"""Encrypted hours: nothing is read without the key, and everything with it."""

from __future__ import annotations

import random
import re
import stat
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as encryption
import pytest

from caliper_dagster.core.errors import ConfigurationError, StorageError
from caliper_dagster.core.file_modes import limited_new_files
from caliper_dagster.core.frames import CALIPER_EVENTS, EXPANDED_LOG, FRAMES, MOODLE_LOG, Frame
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.parquet_digest import read_at, scheme_of
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.storage_keys import SALT_SIZE, StorageKeys
from caliper_dagster_tests.unit.core.test_partition_store import rows

HOUR = Hour.from_key("2026-01-31-22:00")
HOURS = HourRange(HOUR, HOUR + 2)
OLD, NEW = "an old key of thirty-two letters", "a new key of thirty-two letters!"
FLIPS = 60


def store(folder: Path, *keys: str) -> PartitionStore:
    return PartitionStore(str(folder), StorageKeys(keys) if keys else None)


def hour_of(frame: Frame, number: int = 3) -> pa.Table:
    if "timecreated" in frame.schema.names:
        return rows(frame, [HOUR.start] * number)
    return frame.empty()


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.name)
def test_what_is_written_is_read_with_the_key(frame: Frame, tmp_path: Path) -> None:
    storage, table = store(tmp_path, NEW), frame.conform(hour_of(frame))
    size = storage.write(frame, HOUR, table, {"counted": 3})

    assert storage.read(frame, [HOUR]).to_pylist() == table.to_pylist()
    assert storage.footer_stats(frame, HOUR) == {"counted": 3}
    assert storage.digest_counts() == (1, 1, 0, 0)
    content = Path(storage.path(frame, HOUR)).read_bytes()
    assert len(content) == size
    assert content[:4] == content[-4:] == b"PARE"


def test_the_bytes_hold_no_value_no_column_and_no_number_of_the_footer(tmp_path: Path) -> None:
    plain, encrypted = store(tmp_path / "plain"), store(tmp_path / "encrypted", NEW)
    for storage in (plain, encrypted):
        storage.write(MOODLE_LOG, HOUR, hour_of(MOODLE_LOG), {"counted": 1234567})
    words = (b"timecreated", b"caliper_dagster", b"1234567", str(HOUR).encode())
    content = Path(plain.path(MOODLE_LOG, HOUR)).read_bytes()
    assert all(word in content for word in words)
    content = Path(encrypted.path(MOODLE_LOG, HOUR)).read_bytes()
    assert not any(word in content for word in words)


def test_without_the_key_and_with_another_one_it_is_one_sentence(tmp_path: Path) -> None:
    for frame in (MOODLE_LOG, CALIPER_EVENTS):
        store(tmp_path, NEW).write(frame, HOUR, hour_of(frame))
    expected = {
        (): "CALIPER_STORAGE_KEY is not set, and moodle_log of 2026-01-31T22:00Z is encrypted: set "
        "it to the key it was written with.",
        (OLD,): "CALIPER_STORAGE_KEY is not the key of moodle_log of 2026-01-31T22:00Z: add the "
        "key it was written with, in a line of its own.",
    }
    for keys, sentence in expected.items():
        storage = store(tmp_path, *keys)
        for read in (
            lambda storage=storage: storage.read(MOODLE_LOG, [HOUR]),
            lambda storage=storage: storage.footer_stats(MOODLE_LOG, HOUR),
            # It must not count as an hour that was never written.
            lambda storage=storage: storage.existing(MOODLE_LOG, [HOUR]),
            lambda storage=storage: storage.open_existing(MOODLE_LOG, HOUR),
        ):
            with pytest.raises(ConfigurationError, match=f"^{re.escape(sentence)}$") as error:
                read()
            assert error.value.settings == ("CALIPER_STORAGE_KEY",)


def test_hours_in_the_clear_and_of_a_former_key_are_read_beside_the_others(tmp_path: Path) -> None:
    three = [HOUR, HOUR + 1, HOUR + 2]
    for hour, keys in zip(three, [(), (OLD,), (NEW,)], strict=True):
        table = rows(EXPANDED_LOG, [hour.start])
        store(tmp_path, *keys).write(EXPANDED_LOG, hour, table)
    both = store(tmp_path, NEW, OLD)
    assert both.read(EXPANDED_LOG, three)["timecreated"].to_pylist() == [it.start for it in three]
    assert [both.is_protected(EXPANDED_LOG, hour) for hour in three] == [False, False, True]
    assert both.digest_counts() == (3, 3, 0, 2)
    assert store(tmp_path).digest_counts() == (3, 3, 0, 2)


def test_each_file_has_a_key_of_its_own(tmp_path: Path) -> None:
    keys, found = StorageKeys([NEW]), set()
    storage = PartitionStore(str(tmp_path), keys)
    for _ in range(3):
        storage.write(MOODLE_LOG, HOUR, hour_of(MOODLE_LOG))
        with pa.OSFile(storage.path(MOODLE_LOG, HOUR)) as file:
            mark = scheme_of(lambda *at, file=file: read_at(file, *at), file.size()).key_mark
            assert mark
            key = keys.find(mark[:SALT_SIZE], mark[SALT_SIZE:])
            assert key
            found.add(key.key)
            # Any reader of Parquet can use it.
            properties = encryption.create_decryption_properties(key.key)
            with closing(pq.ParquetFile(file, decryption_properties=properties)) as parquet:
                assert parquet.read().num_rows == 3
    assert len(found) == 3
    assert NEW not in repr(keys) + repr(storage)


def test_a_flipped_bit_is_damage_and_not_a_wrong_key(tmp_path: Path) -> None:
    storage, chance = store(tmp_path, NEW), random.Random(1)
    storage.write(EXPANDED_LOG, HOUR, hour_of(EXPANDED_LOG, 40))
    path = Path(storage.path(EXPANDED_LOG, HOUR))
    content = path.read_bytes()
    end = len(content) - int.from_bytes(content[-8:-4], "little") - 8
    marks = range(end - 96, end)
    for place in (*marks, *(chance.randrange(len(content)) for _ in range(FLIPS))):
        changed = bytearray(content)
        changed[place] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(changed))
        with pytest.raises(StorageError, match="is damaged"):
            storage.read(EXPANDED_LOG, [HOUR])


def test_an_hour_in_the_place_of_another_one_is_noticed(tmp_path: Path) -> None:
    storage = store(tmp_path, NEW)
    storage.write(MOODLE_LOG, HOUR, hour_of(MOODLE_LOG))
    later = Path(storage.path(MOODLE_LOG, HOUR + 1))
    Path(storage.path(MOODLE_LOG, HOUR)).rename(later)
    with pytest.raises(StorageError, match="its rows belong to another hour"):
        storage.read(MOODLE_LOG, [HOUR + 1])


def test_tables_by_ids_are_encrypted_too(tmp_path: Path) -> None:
    table = pa.table({"id": [1], "other": ["a secret of somebody"]})
    store(tmp_path, OLD).id_range_tables("log_lifecycle").write(0, 5, table)
    (path,) = tmp_path.rglob("*.parquet")
    assert path.read_bytes()[:4] == b"PARE"
    assert store(tmp_path, NEW, OLD).id_range_tables("log_lifecycle").read(0, 5) == table
    with pytest.raises(ConfigurationError, match=r"^CALIPER_STORAGE_KEY is not the key of .*0-5"):
        store(tmp_path, NEW).id_range_tables("log_lifecycle").read(0, 5)


def test_encrypted_files_are_closed_to_others(tmp_path: Path) -> None:
    with limited_new_files():
        store(tmp_path / "data", NEW).write(MOODLE_LOG, HOUR, hour_of(MOODLE_LOG))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").rglob("*.parquet")}
    assert modes == {0o600}

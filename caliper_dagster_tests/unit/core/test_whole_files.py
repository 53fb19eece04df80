"""Files that come into their place whole."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from caliper_dagster.core import whole_files

ANSWERS_EINVAL = Path("/proc")


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that flushes no folders")
def test_a_file_system_that_cannot_flush_folders_is_no_failure() -> None:
    descriptor = os.open(ANSWERS_EINVAL, os.O_RDONLY)
    try:
        with pytest.raises(OSError) as refusal:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    assert refusal.value.errno == errno.EINVAL
    whole_files._flush_folder(ANSWERS_EINVAL)

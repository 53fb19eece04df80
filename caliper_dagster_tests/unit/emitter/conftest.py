from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from caliper_dagster.emitter import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as opened:
        yield opened

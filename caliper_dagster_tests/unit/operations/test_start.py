"""What a command does not import before it reads the first row."""

import subprocess
import sys

import pytest

HEAVY = ("pandas", "requests", "oauthlib", "uvicorn", "starlette", "caliper_dagster.translator")


@pytest.mark.parametrize(
    "imports",
    [
        "import caliper_dagster.operations.backfill, caliper_dagster.operations.runner",
        "from caliper_dagster.emitter import Ledger",
    ],
)
def test_a_backfill_is_planned_without_what_only_later_steps_need(imports: str) -> None:
    program = (
        "import sys; from caliper_dagster.core.arrow_without_pandas import keep_pandas_out;"
        f"keep_pandas_out(); {imports}; print([name for name in {HEAVY} if name in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.strip() == "[]"


def test_the_http_client_comes_with_the_destination() -> None:
    program = (
        "from caliper_dagster.emitter import HttpDestination, Ledger; import sys;"
        "print(HttpDestination.__name__, 'requests' in sys.modules)"
    )
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.strip() == "HttpDestination True"

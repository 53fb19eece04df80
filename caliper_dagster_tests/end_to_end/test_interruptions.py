"""What a signal leaves behind: the exit status that the command chose, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

INTERRUPTED_WITHIN_EXEC = """
import sys
from caliper_dagster.cli.main import raise_interruptions

raise_interruptions()
try:
    exec("import signal; signal.raise_signal(signal.{name})")
except KeyboardInterrupt:
    sys.exit(7)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_within_a_string_that_is_executed_leaves_the_exit_status(
    name: str, tmp_path: Path
) -> None:
    """Dataclasses are made by ``exec``, so any import can be such a moment."""
    (tmp_path / "interrupted.py").write_text(INTERRUPTED_WITHIN_EXEC.format(name=name))
    command = [sys.executable, "-m", "interrupted"]
    assert subprocess.run(command, cwd=tmp_path).returncode == 7

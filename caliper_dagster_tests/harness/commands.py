"""The command ``caliper-dagster`` as its users have it: a process of its own, with its settings.

``run_anew`` starts the interpreter. Importing Dagster takes longer than most commands do, so tests
that need many of them ``start`` or ``run`` them: each is forked from a process that has imported
everything and has done nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from caliper_dagster.cli.main import main
from caliper_dagster_tests.harness.environment import clean_environment
from caliper_dagster_tests.harness.paths import ROOT

_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(
    [
        "caliper_dagster.operations.doctor",
        "caliper_dagster.operations.backfill",
        "caliper_dagster.cli.terminal",
        "caliper_dagster.operations.translate",
        "caliper_dagster_tests.harness.commands",
    ]
)
_PATIENCE = 300
"""Seconds after which a command is taken to hang."""


@dataclass(frozen=True)
class CommandResult:
    """How a command has ended: exit status (negative: the signal that killed it) and words."""

    status: int
    out: str
    err: str

    def number(self, what: str) -> int:
        """The number that stands beside these words."""
        (number,) = re.findall(rf"^ *{re.escape(what)} +([\d,]+)$", self.out, re.M)
        return int(number.replace(",", ""))


class Command:
    """A command while it runs."""

    def __init__(self, arguments: Sequence[str], settings: Mapping[str, str], folder: Path) -> None:
        self._files = (folder / "command.out", folder / "command.err")
        given = clean_environment(dict(os.environ)) | dict(settings)
        self._process: BaseProcess = _FORKING.Process(
            target=_become, args=(list(arguments), given, folder, self._files)
        )
        self._process.start()
        # Only one thread may learn the status: another would be told that there is none.
        self._waiting = threading.Lock()
        self._done: int | None = None

    def kill(self) -> None:
        """`kill -9`; it is gone when this returns."""
        self._process.kill()
        self._wait()

    def terminate(self) -> None:
        """SIGTERM, as a service manager sends it."""
        self._process.terminate()

    def _wait(self) -> int:
        with self._waiting:
            if self._done is None:
                self._process.join(_PATIENCE)
                self._done = self._process.exitcode
            assert self._done is not None, "it hangs"
            return self._done

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Look again and again, while it runs."""
        while not condition():
            assert self._process.is_alive(), f"it has ended: {self._files[1].read_text()}"
            self._process.join(0.005)

    def ends_within(self, seconds: float) -> bool:
        """Let it run for so long; whether it has ended."""
        self._process.join(seconds)
        return not self._process.is_alive()

    def finish(self) -> CommandResult:
        """Wait for its end."""
        status = self._wait()
        out, err = (path.read_text() for path in self._files)
        return CommandResult(status, out, err)


def command_line(*arguments: str) -> list[str]:
    """What starts a command in an interpreter of its own."""
    return [sys.executable, "-m", "caliper_dagster.cli", *arguments]


def start(arguments: Sequence[str], settings: Mapping[str, str], folder: Path) -> Command:
    """Begin a command in a folder, with these settings and no others."""
    return Command(arguments, settings, folder)


def run(arguments: Sequence[str], settings: Mapping[str, str], folder: Path) -> CommandResult:
    """Run a command in a folder, with these settings and no others."""
    return Command(arguments, settings, folder).finish()


def run_anew(arguments: Sequence[str], settings: Mapping[str, str], folder: Path) -> CommandResult:
    """Run a command from nothing, as a shell would."""
    done = subprocess.run(
        command_line(*arguments),
        env=clean_environment(dict(os.environ)) | {"PYTHONPATH": str(ROOT)} | dict(settings),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
    )
    return CommandResult(done.returncode, done.stdout, done.stderr)


def _become(
    arguments: list[str], environment: dict[str, str], folder: Path, files: Sequence[Path]
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for descriptor, path in enumerate(files, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
    sys.exit(main(arguments))

"""Names of processes, by which another process can tell whether the named one still runs."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path


def process_name(number: int | None = None) -> str:
    """The name of a process of this machine: machine, process number, and start time.

    Process numbers are used again; the start time tells their processes apart.

    Args:
        number: process number; that of this process when not given.
    """
    number = os.getpid() if number is None else number
    try:
        began = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        began = "runs" if _is_alive(number) else "gone"
    return f"{_machine()}|{number}/{began}"


def is_gone(name: str) -> bool:
    """Whether a name is that of a process of this machine that has ended."""
    machine, _, rest = name.rpartition("|")
    number = rest.partition("/")[0]
    return machine == _machine() and number.isdigit() and name != process_name(int(number))


def _machine() -> str:
    """This machine, or the container on it in which process numbers are unique."""
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - a name, not a path
    return f"{socket.gethostname()} {space}"


def _is_alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True

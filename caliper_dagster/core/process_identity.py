"""Processes: names by which others can tell whether one that left its name still runs."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path


def process_name(number: int | None = None) -> str:
    """A process of this machine, this one without a number: place, number, and when it began.

    Numbers are used again, the time at which one began tells them apart.
    """
    number = os.getpid() if number is None else number
    try:
        began = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        began = "runs" if _is_alive(number) else "gone"
    return f"{_place()}|{number}/{began}"


def is_gone(name: str) -> bool:
    """Whether a name is that of a process of this machine that does not run any more."""
    place, _, rest = name.rpartition("|")
    number = rest.partition("/")[0]
    return place == _place() and number.isdigit() and name != process_name(int(number))


def _place() -> str:
    """This machine, or the part of it in which a process number means one process."""
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

"""Variables of the environment that look like settings and are none: probably a slip of the pen.

``.env`` is a part of the environment when this is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from caliper_dagster.config.settings import environment_names

_PREFIXES = ("CALIPER_", "MOODLE_")
_OF_TESTS = ("CALIPER_TEST_", "CALIPER_SCREENSHOTS")
"""Variables of this project's own tests (CONTRIBUTING.md)."""

_SERVICE = "_SERVICE_HOST"
"""Kubernetes describes each service by variables, such as ``MOODLE_SERVICE_HOST`` and
``MOODLE_PORT_3306_TCP_ADDR``."""

_FILES_OF_SETTINGS = ("CALIPER_SITES", "CALIPER_EVENT_STORES")
_LIKENESS = 0.75


@dataclass(frozen=True, slots=True)
class UnknownName:
    """A variable that is no setting.

    Attributes:
        name: the variable.
        meant: the setting that is probably meant; None when none is like it.
    """

    name: str
    meant: str | None


def unknown_names(environment: Mapping[str, str], env_file: str = ".env") -> list[UnknownName]:
    """The variables that begin as settings do, and that nothing uses, in alphabetical order.

    A file of sites or event stores may refer to any variable, and so may another line of ``.env``.

    Args:
        environment: the variables.
        env_file: where ``.env`` is.
    """
    texts = "\n".join(_texts(environment, env_file))
    referred = set(re.findall(r"\w+", texts))
    services = [name.removesuffix(_SERVICE) for name in environment if name.endswith(_SERVICE)]
    known = environment_names()
    return [
        UnknownName(name, _meant(name, known))
        for name in sorted(environment)
        if name.upper().startswith(_PREFIXES)
        and name not in known
        and name not in referred
        and not name.startswith(_OF_TESTS)
        and not _describes_service(name, services)
    ]


def _texts(environment: Mapping[str, str], env_file: str) -> Iterator[str]:
    """The places from which a variable may be referred to."""
    for setting in _FILES_OF_SETTINGS:
        if environment.get(setting):
            # A file that cannot be read is an error of its setting.
            with suppress(OSError, ValueError):
                yield Path(environment[setting]).read_text(encoding="utf-8")
    with suppress(OSError, ValueError):
        yield "\n".join(re.findall(r"\$\{(\w+)", Path(env_file).read_text(encoding="utf-8")))


def _describes_service(name: str, services: list[str]) -> bool:
    return any(name.startswith((f"{service}_SERVICE_", f"{service}_PORT")) for service in services)


def _meant(name: str, known: list[str]) -> str | None:
    written = name.upper()
    near = get_close_matches(written, known, 1, _LIKENESS)
    if near:
        return near[0]
    # MOODLE_START for CALIPER_START, and the other way round.
    rest = written.partition("_")[2]
    return next((setting for setting in known if setting.partition("_")[2] == rest), None)

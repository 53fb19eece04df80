"""What Moodle says about itself: version, addresses, and how long it keeps the log.

It stands in ``config``, ``config_plugins`` and ``mnet_host``. An extract of a Moodle may lack these
tables or rows, and an account may not be allowed to read them: what is not there is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

from caliper_dagster.expander.connection import LOG, MoodleDatabase

_RANDOM_LETTERS = 32
"""What ``siteidentifier`` begins with; the host at which the site was installed follows."""

_LOG_STORE = "logstore_standard"


class MoodleVersion(NamedTuple):
    """The version of a Moodle.

    Attributes:
        number: ``$version``, such as 2024100706: the date of its branch, and two digits.
        release: the name, such as ``4.5.6``.
    """

    number: int
    release: str

    @property
    def branch(self) -> str:
        """The release without its last number, such as ``4.5``."""
        return ".".join(self.release.split(".")[:2])


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """What a Moodle says about itself.

    Attributes:
        version: None when unknown.
        addresses: the site's address as ``mnet_host`` has it, and the host at which the site was
            installed. Moodle does not change them when the site moves.
        log_days: days for which the log keeps rows; 0: for ever. None when unknown. Only Moodle's
            standard log deletes rows, not one of an administrator's choice.
    """

    version: MoodleVersion | None
    addresses: tuple[str, ...]
    log_days: int | None

    def has_address(self, address: str) -> bool:
        """Whether an address may be that of the site; its scheme and upper case do not matter."""
        wanted = urlsplit(address.casefold().rstrip("/"))
        for known in self.addresses:
            host, slash, path = known.casefold().rstrip("/").rpartition("://")[2].partition("/")
            if host == wanted.netloc and (not slash or f"/{path}" == wanted.path):
                return True
        return not self.addresses


def read_site_facts(database: MoodleDatabase) -> SiteFacts:
    """Read them.

    Raises:
        SourceError: the database cannot be read.
    """
    names = ("version", "release", "siteidentifier", "mnet_localhost_id")
    config = _values(database, "config", f"name IN ({_quoted(names)})", ("name", "value"))
    of_log = _values(
        database,
        "config_plugins",
        f"plugin = '{_LOG_STORE}' AND name = 'loglifetime'",
        ("plugin", "name", "value"),
    )
    addresses = [*_mnet_address(database, config.get("mnet_localhost_id", ""))]
    addresses += [config.get("siteidentifier", "")[_RANDOM_LETTERS:]]
    return SiteFacts(
        _version(config.get("version", ""), config.get("release", "")),
        tuple(address for address in addresses if address),
        _integer(of_log.get("loglifetime", "")) if database.log.name(LOG).endswith(LOG) else 0,
    )


def _values(
    database: MoodleDatabase, table: str, condition: str, columns: tuple[str, ...]
) -> dict[str, str]:
    records = database.records(table, ("name", "value"), None, condition, columns)
    return {record["name"]: str(record["value"] or "") for record in records}


def _mnet_address(database: MoodleDatabase, host_id: str) -> Iterable[str]:
    number = _integer(host_id)
    if number is None:
        return ()
    hosts = database.records("mnet_host", ("wwwroot",), {"id": [number]})
    return (str(host["wwwroot"] or "") for host in hosts)


def _version(number: str, release: str) -> MoodleVersion | None:
    words = release.split()
    if not words:
        return None
    whole = _integer(number.partition(".")[0])
    return MoodleVersion(whole or 0, words[0].rstrip("+"))


def _integer(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)

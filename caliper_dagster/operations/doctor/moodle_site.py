"""The site: its address, its version, and how long its log keeps rows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from caliper_dagster.config.connections import open_moodle
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.wording import plural
from caliper_dagster.delivery.log_lifetime import DAY, oldest_untaken
from caliper_dagster.expander.required_tables import KNOWN_BELOW, OLDEST
from caliper_dagster.expander.site_facts import MoodleVersion, SiteFacts, read_site_facts
from caliper_dagster.operations.doctor.findings import Finding, broken, fine, warn

TESTED = ("4.5",)
"""The branches of Moodle of which every row of a real site's log is tested."""

_DAYS_TO_ACT = 7
"""Rows that were not taken and that Moodle deletes so soon count as lost (where Moodle keeps rows
for less than two weeks: those in the second half of that time)."""

_DAYS_TO_WARN = 30


def address(settings: Settings) -> Iterator[Finding]:
    """Whether the site has an address."""
    identity = settings.identity()
    moved = identity.site_id != identity.address
    suffix = f"; ids of events are made of {identity.site_id}" if moved else ""
    yield fine("Site address", f"{identity.address}{suffix}")


def facts(settings: Settings) -> Iterator[Finding]:
    """Whether the database is that of the site, and its Moodle one that was tested."""
    with open_moodle(settings) as database:
        found = read_site_facts(database)
    yield _same_site(settings, found)
    yield version(found.version)


def _same_site(settings: Settings, found: SiteFacts) -> Finding:
    identity = settings.identity()
    if found.has_address(identity.address) or found.has_address(identity.site_id):
        return fine("Same site", "the database names no other address")
    return warn(
        "Same site",
        f"MOODLE_WWWROOT is {identity.address}, but the database of MOODLE_DB_URL is that of "
        f"{found.addresses[0]}: events would say that they are of another site.",
        "Set MOODLE_WWWROOT to $CFG->wwwroot of the config.php of that Moodle. If the site has "
        "moved, set CALIPER_SITE_ID to its first address.",
    )


def version(found: MoodleVersion | None) -> Finding:
    """Whether this Moodle is one that was tested."""
    tested = f"tested with a real site of {' and '.join(TESTED)}"
    if found is None:
        return fine("Moodle version", f"unknown: the database does not say it; {tested}")
    if found.branch in TESTED:
        return fine("Moodle version", f"{found.release}, which is tested")
    if 0 < found.number < OLDEST:
        return warn(
            "Moodle version",
            f"{found.release}; the tables of versions before 2.9 are not known; {tested}.",
            "Compare the events of an hour (`caliper-dagster translate`) with Moodle, or update "
            "Moodle.",
        )
    if found.number >= KNOWN_BELOW:
        return warn(
            "Moodle version",
            f"{found.release}, which is newer than this release of caliper_dagster; {tested}.",
            "Update caliper_dagster. Until then compare the events of an hour "
            "(`caliper-dagster translate`) with Moodle.",
        )
    return fine("Moodle version", f"{found.release}, whose tables are known; {tested}")


def log_lifetime(settings: Settings) -> Iterator[Finding]:
    """Whether Moodle deletes log rows before they are taken."""
    now = time.time()
    with open_moodle(settings) as database:
        days = read_site_facts(database).log_days
        if not days:
            keeps = "does not say how long it keeps log rows" if days is None else "keeps log rows"
            yield fine("Log lifetime", f"Moodle {keeps}{'' if days is None else ' for ever'}")
            return
        expiring = oldest_untaken(settings, database, days, within_days=_DAYS_TO_WARN, now=now)
    keeps = f"Moodle deletes log rows after {plural(days, 'day')} (loglifetime)"
    if expiring is None:
        yield fine("Log lifetime", f"{keeps}; those of the next {_DAYS_TO_WARN} days are taken")
        return
    deleted = datetime.fromtimestamp(expiring.deleted_at, UTC)
    when = "from now on" if expiring.deleted_at <= now else f"from {deleted:%Y-%m-%d %H:%M UTC} on"
    soon = min(_DAYS_TO_ACT, days / 2) * DAY
    tell = broken if expiring.deleted_at - now < soon else warn
    yield tell(
        "Log lifetime",
        f"{keeps}, and hours from {expiring.hour} on are not taken: their rows are lost {when}.",
        f"Run `caliper-dagster backfill --from {expiring.hour} --to …` before, or raise "
        "loglifetime in Moodle (Site administration, Plugins, Logging, Standard log).",
    )

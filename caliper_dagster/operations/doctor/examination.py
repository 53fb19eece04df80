"""What is checked, in which order, and what is left out.

One cause is one finding: what several checks meet is reported once, and a check is left out when it
needs something that another check has found broken.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from caliper_dagster.config.settings import Settings, wrong_settings
from caliper_dagster.config.sites import all_sites, chosen_site
from caliper_dagster.config.unknown_names import unknown_names
from caliper_dagster.core.errors import CaliperDagsterError, ConfigurationError
from caliper_dagster.operations.doctor import (
    dagster_instance,
    environment,
    event_stores,
    filters,
    mapping,
    moodle,
    moodle_log,
    moodle_site,
    secret_files,
    storage,
    withheld,
)
from caliper_dagster.operations.doctor.findings import Finding, Verdict, broken

HOME, DAGSTER = "Dagster home", "Dagster"
ADDRESS, DATABASE, STORAGE, LEDGER = "Site address", "Moodle database", "Storage", "Ledger"

Look = Callable[[], Iterator[Finding]]


def examine_configured(site: str | None = None, *, fix_modes: bool = False) -> Iterator[Finding]:
    """Check everything that the environment describes.

    Args:
        site: only this site, and what all sites share.
        fix_modes: see `examine`.

    Raises:
        ConfigurationError: there is no such site.
    """
    try:
        sites = all_sites()
    except ConfigurationError as error:
        # Without settings only they can be looked at. A file of sites says its first mistake.
        yield from environment.variables(os.environ, unknown_names(os.environ))
        for mistake in wrong_settings(os.environ) or (error,):
            yield broken("Settings", str(mistake))
        return
    yield from examine([chosen_site(site, sites)] if site else sites, fix_modes=fix_modes)


def examine(sites: Iterable[Settings], *, fix_modes: bool = False) -> Iterator[Finding]:
    """Check what all sites share, then site by site, in the order in which a log row passes.

    Args:
        sites: the settings of each site.
        fix_modes: also take the right to read stored files from other accounts.
    """
    sites = tuple(sites)
    shared = _Examination()
    if any(settings.host is None for settings in sites):
        # In the project of a host the names of variables are those of its components.
        unknown = unknown_names(os.environ)
        yield from environment.variables(os.environ, unknown)
        shared.not_set.update(environment.missing_by_another_name(os.environ, unknown))
    yield from shared.check(HOME, dagster_instance.home)
    yield from shared.check(DAGSTER, dagster_instance.instance, HOME)
    for settings in sites:
        of_site = shared.copy()
        for finding in _examine(settings, of_site):
            yield replace(finding, site=settings.site)
        shared.reported |= of_site.reported
    yield from shared.check("Disk", partial(storage.disk, sites))
    yield from shared.check("Secret files", partial(secret_files.secret_files, sites))
    yield from shared.check("File modes", partial(storage.file_modes, sites, fix=fix_modes))


def _examine(settings: Settings, of_site: _Examination) -> Iterator[Finding]:
    """The findings about one site."""
    checks: Sequence[tuple[str, Callable[[Settings], Iterator[Finding]], tuple[str, ...]]] = (
        ("First hour", environment.first_hour, ()),
        ("Recipes", environment.recipes, ()),
        (ADDRESS, moodle_site.address, ()),
        (DATABASE, moodle.database, ()),
        ("Moodle", moodle_site.facts, (DATABASE, ADDRESS)),
        ("Event store", event_stores.event_stores, ()),
        ("Filter", filters.filters, (DATABASE,)),
        (STORAGE, storage.partitions, (HOME,) if settings.storage is None else ()),
        ("Log", moodle_log.elsewhere, (DATABASE, ADDRESS, STORAGE)),
        (LEDGER, storage.ledger, (STORAGE,) if storage.is_beside_storage(settings) else ()),
        ("Log lifetime", moodle_site.log_lifetime, (DATABASE, ADDRESS, STORAGE, LEDGER)),
        ("Mapping", mapping.mapping, (ADDRESS, STORAGE, LEDGER)),
        ("Withheld", withheld.withheld, (STORAGE,)),
        ("Automation", dagster_instance.automation, (HOME, DAGSTER)),
        ("Pools", dagster_instance.pools, (HOME, DAGSTER)),
    )
    for subject, look, needs in checks:
        yield from of_site.check(subject, partial(look, settings), *needs)


@dataclass(slots=True)
class _Examination:
    """What was found so far.

    Attributes:
        reported: the texts of what is broken.
        broken: the subjects whose check has found something broken.
        not_set: settings of which it is reported already that they are not set.
    """

    reported: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    not_set: set[str] = field(default_factory=set)

    def copy(self) -> _Examination:
        return _Examination(set(self.reported), set(self.broken), set(self.not_set))

    def check(self, subject: str, look: Look, *needs: str) -> Iterator[Finding]:
        """The findings of a check up to its first error, which is a finding too.

        Args:
            subject: what is looked at.
            look: the check.
            *needs: subjects without which it would only find again what is broken there.
        """
        if not self.broken.isdisjoint(needs):
            self.broken.add(subject)
            return
        for finding in self._guarded(subject, look):
            if finding.verdict is Verdict.BROKEN:
                self.broken.add(subject)
                if finding.text in self.reported:
                    continue
                self.reported.add(finding.text)
            yield finding

    def _guarded(self, subject: str, look: Look) -> Iterator[Finding]:
        try:
            yield from look()
        except CaliperDagsterError as error:
            text = str(error)
            if any(text.startswith(f"{setting} is not set") for setting in self.not_set):
                self.broken.add(subject)
            else:
                yield broken(subject, text)
        except Exception as error:
            # One broken subject must not hide the others. The text of a foreign error may hold
            # secrets.
            kind = type(error).__name__
            yield broken(
                subject,
                f"could not be checked: an unexpected {kind}.",
            )

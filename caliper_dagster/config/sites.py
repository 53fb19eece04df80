"""The sites: which Moodle sites there are, and the settings of each.

The file that ``CALIPER_SITES`` names has a name for each site, and below it the site's settings by
their environment variables. A site inherits the others from the environment, except those that
must differ between sites. Without the file there is one site without a name, whose settings are
those of the environment. This module opens no site, and does not import Dagster.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations

from caliper_dagster.config.declaration import Declaration, Mistake, check, nested, parse
from caliper_dagster.config.event_store_settings import CREDENTIALS, PSEUDONYM_KEY
from caliper_dagster.config.settings import Settings, declaration_at, declared, values_from
from caliper_dagster.config.yaml_file import SettingsFile
from caliper_dagster.core.errors import ConfigurationError

FILE = "CALIPER_SITES"
_DB_URL = "MOODLE_DB_URL"
_LOG_DB_URL, _LOG_TABLE = "MOODLE_LOG_DB_URL", "MOODLE_LOG_TABLE"
_WWWROOT = "MOODLE_WWWROOT"
_STORAGE = "CALIPER_STORAGE"
_SITE_ID = "CALIPER_SITE_ID"

_REQUIRED = (_DB_URL, _WWWROOT)
"""What every site must say itself."""

_DESTINATIONS = ("CALIPER_EVENT_STORE_URL", "CALIPER_EVENT_STORES")
"""Where events go: a site says at most one of these."""


def all_sites(environment: Mapping[str, str] | None = None) -> tuple[Settings, ...]:
    """The settings of all sites, in the order of the file; without one, those of the environment.

    Raises:
        ConfigurationError: a setting is of the wrong form, or the file cannot be read or is wrong;
            one sentence with file, site and setting, which repeats no value.
    """
    variables = os.environ if environment is None else environment
    common = Settings.from_environment(variables)
    return _SitesFile(common.sites, variables).sites() if common.sites else (common,)


def chosen_site(
    name: str | None, sites: Sequence[Settings] | None = None, source: str = FILE
) -> Settings:
    """The settings of the site with that name, or of the only one, which has none.

    Args:
        name: of the site; None if no name is given.
        sites: all that there are; those of the environment if omitted.
        source: what names them.

    Raises:
        ConfigurationError: there is no such site, or there are several and no name is given; or
            see ``all_sites``.
    """
    sites = all_sites() if sites is None else sites
    for settings in sites:
        if settings.site == name:
            return settings
    names = ", ".join(settings.site for settings in sites if settings.site)
    if not names:
        raise ConfigurationError(f"--site {name} is not known: {source} names no sites.")
    if name is None:
        raise ConfigurationError(f"--site is needed, for {source} names several sites: {names}.")
    raise ConfigurationError(f"--site {name} is none of {names}.")


class _SitesFile:
    """The file, and the environment from which its sites inherit."""

    def __init__(self, path: str, environment: Mapping[str, str]) -> None:
        self._file = SettingsFile(FILE, path, subject="site", example=_DB_URL, as_text=True)
        self._environment = environment
        self._known = {name: setting for name, setting in declared().items() if name != FILE}

    def sites(self) -> tuple[Settings, ...]:
        sites = tuple(self._site(name, values) for name, values in self._file.read().items())
        require_distinct(sites, self._file.error)
        return sites

    def _site(self, name: str, values: Mapping[str, object]) -> Settings:
        try:
            own = parse(values, self._known, self._environment)
            self._check_choice(own)
            settings = check(Settings, nested(self._inherited(own) | _values(own)))
        except Mistake as mistake:
            raise self._error(name, mistake) from None
        folder = None if settings.storage and own.get(declared()[_STORAGE]) else name
        return settings.model_copy(update={"site": name, "folder": folder})

    def _error(self, name: str, mistake: Mistake) -> ConfigurationError:
        place = [f"site {name}"]
        if mistake.path:
            setting = declaration_at(mistake.path)
            place += [setting.variable, *mistake.path[len(setting.path) :]]
        return self._file.error(mistake.problem, *place)

    def _check_choice(self, own: Mapping[Declaration, object]) -> None:
        for variable in _REQUIRED:
            setting = declared()[variable]
            if not own.get(setting):
                raise Mistake(setting.path, "is required for each site")
        if {declared()[variable] for variable in _DESTINATIONS} <= own.keys():
            raise Mistake((), f"it may have only one of {' and '.join(_DESTINATIONS)}")

    def _inherited(self, own: Iterable[Declaration]) -> dict[Declaration, object]:
        """What a site takes from the environment.

        An event store and its credential belong together: a key is sent to no other event store
        than the one that it is for. A site that says a part of a credential says all of it.
        """
        said = {setting.variable for setting in own}
        kept_back = {*said, FILE, *_REQUIRED, _SITE_ID}
        if said & set(_DESTINATIONS):
            kept_back |= {*_DESTINATIONS, *CREDENTIALS, PSEUDONYM_KEY}
        elif said & set(CREDENTIALS):
            kept_back |= {*CREDENTIALS}
        inherited = values_from(self._environment)
        # A secret without a place is None; left out it would be the default, its own variable.
        secrets = {setting: None for setting in inherited if setting.secret}
        return secrets | {
            setting: value
            for setting, value in inherited.items()
            if setting.variable not in kept_back
        }


def _values(own: Mapping[Declaration, object]) -> dict[Declaration, object]:
    """What a site says. An empty value means: not set, and not inherited; a secret cannot be."""
    return {
        setting: value
        for setting, value in own.items()
        if value != "" or setting.secret or setting.may_be_empty
    }


def require_distinct(sites: Sequence[Settings], error: Callable[[str], ConfigurationError]) -> None:
    """Require that no two sites have in common what is a site's own.

    Args:
        sites: all sites of a file or of a project.
        error: makes the error of a sentence about two sites.

    Raises:
        ConfigurationError: two sites have the same address, site id, database, log or storage.
    """
    for one, other in combinations(sites, 2):
        for what, value in _distinct(one).items():
            if value == _distinct(other)[what]:
                raise error(f"sites {one.site} and {other.site} have the same {what}")


def _distinct(settings: Settings) -> dict[str, object]:
    """What no two sites may have in common."""
    reference = settings.moodle_db_url
    database = (reference and reference.value(_DB_URL)) or reference
    place = settings.moodle_log_db_url
    log_database = (place and place.value(_LOG_DB_URL)) or database
    table = settings.moodle_log_table
    return {
        _WWWROOT: (settings.moodle_wwwroot or "").casefold(),
        f"{_SITE_ID} or {_WWWROOT}": settings.identity().site_id,
        f"{_DB_URL} and MOODLE_DB_PREFIX": (database, settings.moodle_db_prefix),
        f"{_LOG_DB_URL} and {_LOG_TABLE}": (log_database, table or settings.moodle_db_prefix),
        _STORAGE: f"{(settings.storage or '').rstrip('/')}/{settings.folder or ''}".rstrip("/"),
    }

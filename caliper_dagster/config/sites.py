"""The sites: which Moodle sites there are, and the settings of each.

Here belongs the file that ``CALIPER_SITES`` names, in which each site says its settings by their
own names. What it does not say is as the environment says, but for what must be its own. Without
the file there is one site, the environment's, which has no name. Nothing is opened here, and
nothing here knows Dagster.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from itertools import combinations

from pydantic import ValidationError

from caliper_dagster.config import event_stores
from caliper_dagster.config.settings import DB_URL, LEDGER_URL, Settings, setting_names
from caliper_dagster.config.yaml_file import SettingsFile, Variable, first_mistake
from caliper_dagster.core.errors import ConfigurationError

FILE = "CALIPER_SITES"
WWWROOT = "MOODLE_WWWROOT"
STORAGE = "CALIPER_STORAGE"

_OWN = (DB_URL, WWWROOT)
"""What each site must say itself."""

_SECRETS = (DB_URL, event_stores.URL, event_stores.API_KEY, LEDGER_URL)
_STORE = (event_stores.URL, event_stores.FILE)
"""Where events go: of these a site says one, if any."""


def all_sites(environment: Mapping[str, str] | None = None) -> tuple[Settings, ...]:
    """The settings of all sites, in the order of the file; those of the environment without one.

    Raises:
        ConfigurationError: a setting is of the wrong form, or the file cannot be read or says
            something wrong; one sentence, which names file, site and setting, and repeats no value.
    """
    given = os.environ if environment is None else environment
    common = Settings.from_environment(given)
    return _File(common.sites, given).sites() if common.sites else (common,)


def chosen_site(name: str | None) -> Settings:
    """The settings of the site of that name, or of the only one, which has none.

    Raises:
        ConfigurationError: there is no such site, or there are several and none is named; or see
            ``all_sites``.
    """
    sites = all_sites()
    for settings in sites:
        if settings.site == name:
            return settings
    names = ", ".join(settings.site for settings in sites if settings.site)
    if not names:
        raise ConfigurationError(f"--site {name} is not known: {FILE} names no sites.")
    if name is None:
        raise ConfigurationError(f"--site is needed, for {FILE} names several sites: {names}.")
    raise ConfigurationError(f"--site {name} is none of {names}.")


class _File:
    """The file, with what the environment says beside it."""

    def __init__(self, path: str, environment: Mapping[str, str]) -> None:
        self._file = SettingsFile(FILE, path, thing="site", example=DB_URL, as_text=True)
        self._environment = environment

    def sites(self) -> tuple[Settings, ...]:
        found = tuple(self._site(name, given) for name, given in self._file.read().items())
        for one, other in combinations(found, 2):
            for what, mark in _marks(one).items():
                if mark == _marks(other)[what]:
                    raise self._file.wrong(f"sites {one.site} and {other.site} have one {what}")
        return found

    def _site(self, name: str, given: Mapping[str, object]) -> Settings:
        self._check_names(name, given)
        said = {setting: self._said(name, setting, value) for setting, value in given.items()}
        common = {
            setting: self._environment.get(setting, "")
            for setting in setting_names()
            if _is_inherited(setting, said)
        }
        own = {setting: self._value(name, setting, value) for setting, value in said.items()}
        try:
            settings = Settings.from_environment(common | own)
        except ConfigurationError as error:
            raise self._wrong(name, str(error).removesuffix(".")) from None
        elsewhere = {
            secret: Variable(env=secret) if _is_inherited(secret, said) else None
            for secret in _SECRETS
        }
        secrets = elsewhere | {secret: said[secret] for secret in _SECRETS if secret in said}
        folder = None if own.get(STORAGE) else name
        return settings.model_copy(update={"site": name, "folder": folder, "secrets": secrets})

    def _check_names(self, name: str, given: Mapping[str, object]) -> None:
        known = [setting for setting in setting_names() if setting != FILE]
        for setting in given:
            if setting not in known:
                near = get_close_matches(setting, known, 1)
                hint = f"; the nearest is {near[0]}" if near else ""
                raise self._wrong(name, f"it has a key that is no setting of a site{hint}")
        for setting in _OWN:
            if not given.get(setting):
                raise self._wrong(name, f"{setting} must be said of each site")
        if all(setting in given for setting in _STORE):
            raise self._wrong(name, f"of {' and '.join(_STORE)} it may say one")

    def _said(self, name: str, setting: str, value: object) -> Variable | str:
        """A text, or the name of a variable; never a secret."""
        try:
            if isinstance(value, dict):
                return Variable.model_validate(value)
            if setting == event_stores.URL:
                return event_stores.without_secret(value)
        except ValidationError as error:
            place, what = first_mistake(error)
            raise self._wrong(name, f"{setting}: {place}: {what}") from None
        except ValueError as error:
            raise self._wrong(name, f"{setting}: {error}") from None
        if setting in _SECRETS:
            raise self._wrong(name, f"{setting} must be {{env: NAME}}: no secret stands in it")
        if not isinstance(value, str):
            raise self._wrong(name, f"{setting} must be a text or {{env: NAME}}")
        return value

    def _value(self, name: str, setting: str, said: Variable | str) -> str:
        """The value; empty for a secret that is not there, which is told where it is needed."""
        if not isinstance(said, Variable):
            return said
        value = self._environment.get(said.env, "")
        if not value and setting not in _SECRETS:
            raise self._wrong(name, f"{setting}: the variable ${said.env} is not set")
        return value

    def _wrong(self, name: str, what: str) -> ConfigurationError:
        return self._file.wrong(f"site {name}: {what}")


def _is_inherited(setting: str, said: Mapping[str, object]) -> bool:
    """Whether a site takes from the environment what it does not say of a setting.

    An event store and its key go together: no key is sent to another one than it was made for.
    """
    if setting in (*_STORE, event_stores.API_KEY) and any(place in said for place in _STORE):
        return False
    return setting not in (FILE, *_OWN)


def _marks(settings: Settings) -> dict[str, object]:
    """What no two sites may have in common."""
    database = settings.moodle_db_url or settings.variable(DB_URL)
    return {
        WWWROOT: (settings.moodle_wwwroot or "").casefold(),
        f"{DB_URL} and MOODLE_DB_PREFIX": (database, settings.moodle_db_prefix),
        STORAGE: f"{(settings.storage or '').rstrip('/')}/{settings.folder or ''}".rstrip("/"),
    }

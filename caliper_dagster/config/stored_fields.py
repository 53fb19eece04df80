"""What is stored of persons, and how it is encrypted: the settings, checked against each other.

What is not stored cannot be sent. A setting that leaves fields out, and an event store that is to
get them, is an error in the settings; it is found before anything is stored or sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from caliper_dagster.caliper.shapes import Rendering
from caliper_dagster.config.declaration import not_set, secret_of
from caliper_dagster.config.settings import Settings, declaration_at
from caliper_dagster.config.value_checks import listed
from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName
from caliper_dagster.core.privacy import FULL
from caliper_dagster.core.storage_keys import LEAST_LENGTH, StorageKeys
from caliper_dagster.core.stored_fields import NOTHING, WHOLE, StoredFields

_OF_NAMES = frozenset({"AccountUserName", "SisSourcedId", "LisSourcedId", "EmailAddress"})
"""Identifiers that are read from the fields that CALIPER_STORED_NAMES leaves out."""

_ONLY_NAMES = replace(NOTHING, names=True)

_KEY = SettingName(declaration_at(("storage_key",)).variable)


class _Need(NamedTuple):
    """Something that events tell: what lets it leave, the fields for it, and their setting."""

    switch: str
    fields: StoredFields
    setting: str


def stored_fields(settings: Settings) -> StoredFields:
    """The personal fields that are stored.

    Raises:
        ConfigurationError: an event store is to get what is not stored.
        RecipeError: a recipe of the site is wrong.
    """
    fields = StoredFields(settings.stored_addresses, settings.stored_names, settings.stored_texts)
    if fields == WHOLE:
        return WHOLE
    from caliper_dagster.config.event_stores import renderings

    for need in (it for rendering in renderings(settings) for it in _needs(settings, rendering)):
        if fields.missing(need.fields):
            raise _contradiction(need.setting, need.switch)
    keys = _keys_of_site(settings)
    if not fields.names and keys:
        from caliper_dagster.expander.stored_rows import KEYS_OF_NAMES

        if names := sorted(keys & KEYS_OF_NAMES):
            raise _contradiction("CALIPER_STORED_NAMES", f"CALIPER_RECIPES: {', '.join(names)}")
    return fields if fields.texts else replace(fields, keys=keys)


def _contradiction(setting: str, switch: str) -> ConfigurationError:
    return ConfigurationError(
        Sentence(
            SettingName(setting),
            f" leaves out of stored hours what events are to tell ({switch}): change one of the "
            "two.",
        )
    )


def needed_fields(settings: Settings, rendering: Rendering) -> StoredFields:
    """The personal fields that the events of a rendering tell.

    Raises:
        RecipeError: a recipe of the site is wrong.
    """
    needs = [need.fields for need in _needs(settings, rendering)]
    is_sent = any(fields.addresses != "none" for fields in needs)
    return StoredFields(
        settings.stored_addresses if is_sent else "none",
        any(fields.names for fields in needs),
        any(fields.texts for fields in needs),
        _keys_of_site(settings),
    )


def _needs(settings: Settings, rendering: Rendering) -> Iterator[_Need]:
    """What the events of a rendering tell of the fields that may be left out."""
    from caliper_dagster.config.event_stores import sent_as

    privacy = sent_as(settings, rendering).effective_privacy
    profile = privacy.profile
    by_profile = f"the profile {profile.name}"
    if privacy.names:
        switch = by_profile if "person" in profile.texts else "CALIPER_PERSON_NAMES"
        yield _Need(switch, _ONLY_NAMES, "CALIPER_STORED_NAMES")
    if not _OF_NAMES.isdisjoint(privacy.identifiers):
        yield _Need("CALIPER_PERSON_IDENTIFIERS", _ONLY_NAMES, "CALIPER_STORED_NAMES")
    if "personal" in privacy.texts:
        switch = by_profile if "personal" in profile.texts else "CALIPER_FREE_TEXT"
        yield _Need(switch, replace(NOTHING, texts=True), "CALIPER_STORED_TEXTS")
    if privacy.ip_addresses:
        # What is stored truncated is sent truncated.
        switch = by_profile if profile is FULL else "CALIPER_IP_ADDRESSES"
        yield _Need(switch, replace(NOTHING, addresses="truncated"), "CALIPER_STORED_ADDRESSES")


def _keys_of_site(settings: Settings) -> frozenset[str]:
    """Keys of event data that recipes of the site read."""
    if not settings.recipes:
        return frozenset()
    paths = [Path(name) for name in listed(settings.recipes)]
    versions = [path.stat().st_mtime_ns if path.exists() else 0 for path in paths]
    return _keys_of_files(settings, tuple(versions))


@lru_cache(maxsize=16)
def _keys_of_files(settings: Settings, _: tuple[int, ...]) -> frozenset[str]:
    # The translator is loaded only where it is needed.
    from caliper_dagster.config.translator import configured_recipes
    from caliper_dagster.translator.recipes import load_recipes

    return configured_recipes(settings).event_data_keys() - load_recipes().event_data_keys()


def storage_keys(settings: Settings) -> StorageKeys | None:
    """The keys of stored hours; None if they are not encrypted.

    Raises:
        ConfigurationError: a key is too short, or the variable or file in which it stands cannot be
            read.
    """
    place = settings.storage_key
    text = place.value(_KEY) if place else None
    if text is None and place and place.env not in (None, _KEY):
        raise not_set(declaration_at(("storage_key",)), place)
    return _keys(text)


def keys_of_environment() -> StorageKeys | None:
    """The keys of a storage that belongs to no site of the settings; see `storage_keys`."""
    return _keys(secret_of(_KEY))


def _keys(text: str | None) -> StorageKeys | None:
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    if any(len(line) < LEAST_LENGTH for line in lines):
        raise ConfigurationError(
            Sentence(
                _KEY,
                f" is wrong: each key must have at least {LEAST_LENGTH} characters, as "
                "`openssl rand -base64 32` makes one.",
            )
        )
    return StorageKeys(lines) if lines else None

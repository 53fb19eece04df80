"""Every setting once: name, default, meaning.

Settings come from the environment (and ``.env``, which the command line and ``dagster dev`` load).
This module only reads and checks them; it opens nothing. Whether a value works (a reachable
database, an accepted key) is the business of the part that uses it, which names the setting too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

from caliper_dagster.config.yaml_file import Variable, first_mistake
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.hours import HOUR_FORM, Hour, parse_hour

DB_URL = "MOODLE_DB_URL"
LEDGER_URL = "CALIPER_LEDGER_URL"

CaliperVersion = Literal["v1p2", "v1p1"]
PersonIdentifier = Literal[
    "SystemId", "AccountUserName", "SisSourcedId", "LisSourcedId", "EmailAddress", "LtiUserId"
]


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http or https URL")
    return text


class Settings(BaseModel):
    """The settings of one Moodle site and one event store, by their environment variables.

    Of several sites (``sites``) each has, beside its settings:

    Attributes:
        site: its name.
        folder: its folder under ``storage``; None when the storage is its own.
        secrets: by setting, where its secrets stand: in a variable, or nowhere; the address of an
            event store may stand there itself. What is not named stands in the variable of the
            setting's name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    moodle_db_url: SecretStr | None = Field(
        None,
        alias="MOODLE_DB_URL",
        description="SQLAlchemy URL of Moodle's database: mysql+pymysql://…, "
        "postgresql+psycopg2://… or sqlite:///…; an account that may only SELECT is enough",
    )
    moodle_db_prefix: str = Field(
        "mdl_",
        alias="MOODLE_DB_PREFIX",
        pattern=r"^[A-Za-z0-9_]*$",
        description="table prefix ($CFG->prefix)",
    )
    moodle_db_timeout: int = Field(
        300,
        alias="MOODLE_DB_TIMEOUT",
        gt=0,
        description="seconds after which one statement at Moodle's database is given up",
    )
    moodle_wwwroot: Annotated[str, AfterValidator(_http_url)] | None = Field(
        None,
        alias="MOODLE_WWWROOT",
        description="the site's address ($CFG->wwwroot), base of all entity IRIs",
    )
    sites: str | None = Field(
        None,
        alias="CALIPER_SITES",
        description="file (YAML) that names several Moodle sites, each with settings of its own",
    )
    event_store_url: SecretStr | None = Field(
        None, alias="CALIPER_EVENT_STORE_URL", description="where envelopes go"
    )
    api_key: SecretStr | None = Field(
        None, alias="CALIPER_API_KEY", description="sent as `Authorization: Bearer …`"
    )
    auth_scheme: str = Field(
        "Bearer",
        alias="CALIPER_AUTH_SCHEME",
        pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
        description="scheme before the key in `Authorization`; `none` sends the bare key",
    )
    event_stores: str | None = Field(
        None,
        alias="CALIPER_EVENT_STORES",
        description="file (YAML) that names several event stores, instead of "
        "CALIPER_EVENT_STORE_URL and CALIPER_API_KEY",
    )
    event_store_timeout: float = Field(
        30,
        alias="CALIPER_EVENT_STORE_TIMEOUT",
        gt=0,
        description="seconds to wait for the event store's answer",
    )
    connect_timeout: float = Field(
        10,
        alias="CALIPER_CONNECT_TIMEOUT",
        gt=0,
        description="seconds to wait for a connection to the event store",
    )
    ca_file: str | None = Field(
        None,
        alias="CALIPER_CA_FILE",
        description="file (PEM) of the certificate authorities to trust for the event store, "
        "instead of the usual ones",
    )
    gzip: bool = Field(
        False,
        alias="CALIPER_GZIP",
        description="send envelopes compressed; the event store must take that",
    )
    envelopes_in_flight: int = Field(
        2,
        alias="CALIPER_ENVELOPES_IN_FLIGHT",
        gt=0,
        le=32,
        description="envelopes that wait for their answer at the same time, at most; with more "
        "than one their order is not kept",
    )
    attempts: int = Field(
        6,
        alias="CALIPER_ATTEMPTS",
        gt=0,
        description="how often an envelope is posted while the event store is down or busy, before "
        "the run fails; the waits between grow from 1 to 60 seconds",
    )
    batch_size: int = Field(
        500, alias="CALIPER_BATCH_SIZE", gt=0, description="events per envelope, at most"
    )
    batch_bytes: int = Field(
        1_000_000,
        alias="CALIPER_BATCH_BYTES",
        gt=1000,
        description="bytes per envelope, at most (a single larger event goes alone)",
    )
    caliper_version: CaliperVersion = Field(
        "v1p2", alias="CALIPER_VERSION", description="Caliper version of the events: v1p2 or v1p1"
    )
    start: Hour = Field(
        Hour.from_key("2025-01-01-00:00"),
        alias="CALIPER_START",
        description="first hour of the partitions, UTC",
    )
    storage: str | None = Field(
        None,
        alias="CALIPER_STORAGE",
        description="where partitions are kept: a folder or an object-store URL; "
        "`data` under DAGSTER_HOME when unset",
    )
    ledger_url: SecretStr | None = Field(
        None,
        alias="CALIPER_LEDGER_URL",
        description="SQLAlchemy URL of the ledger; SQLite beside the storage when unset",
    )
    hours_per_run: int = Field(
        336,
        alias="CALIPER_HOURS_PER_RUN",
        gt=0,
        description="hours that one run of a backfill takes, at most",
    )
    schedule_lag: int = Field(
        10,
        alias="CALIPER_SCHEDULE_LAG",
        ge=0,
        lt=60,
        description="minutes after the end of an hour at which the schedule takes it",
    )
    automation: bool = Field(
        False,
        alias="CALIPER_AUTOMATION",
        description="schedule and sensor are on from the start; without it they are switched on in "
        "the web UI",
    )
    send_immediately: bool = Field(
        False,
        alias="CALIPER_SEND_IMMEDIATELY",
        description="also send the rows of the hour in progress, as they come; the sensor is then "
        "on from the start",
    )
    send_interval: int = Field(
        5,
        alias="CALIPER_SEND_INTERVAL",
        gt=0,
        description="seconds from one look for new rows to the next with CALIPER_SEND_IMMEDIATELY",
    )
    late_margin: int = Field(
        30,
        alias="CALIPER_LATE_MARGIN",
        gt=0,
        description="minutes for which the sensor looks again at ids that it has passed: log rows "
        "of a transaction that is not longer than this are never missed",
    )
    person_names: bool = Field(
        False, alias="CALIPER_PERSON_NAMES", description="send the full names of persons"
    )
    person_identifiers: tuple[PersonIdentifier, ...] = Field(
        ("SystemId",),
        alias="CALIPER_PERSON_IDENTIFIERS",
        description="which `otherIdentifiers` of persons are sent, separated by commas: SystemId, "
        "AccountUserName, SisSourcedId, LisSourcedId, EmailAddress, LtiUserId; `none` for none",
    )
    free_text: bool = Field(
        False,
        alias="CALIPER_FREE_TEXT",
        description="send text that persons wrote: search terms, answers to questions",
    )
    recipes: str | None = Field(
        None,
        alias="CALIPER_RECIPES",
        description="file(s) of the site's own recipes, separated by commas; a later one wins",
    )
    ip_addresses: bool = Field(
        False, alias="CALIPER_IP_ADDRESSES", description="send the ip address of each log row"
    )

    site: str | None = None
    folder: str | None = None
    secrets: Mapping[str, Variable | str | None] = {}

    @field_validator("start", mode="before")
    @classmethod
    def _read_start(cls, value: object) -> object:
        try:
            return parse_hour(value, "") if isinstance(value, str) else value
        except ConfigurationError:
            raise ValueError(f"must be {HOUR_FORM}") from None

    @field_validator("person_identifiers", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        names = [name.strip() for name in value.split(",") if name.strip()]
        return () if names == ["none"] else tuple(names)

    @field_validator("moodle_wwwroot")
    @classmethod
    def _normalise(cls, value: str | None) -> str | None:
        return value.rstrip("/") if value else value

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings; an empty variable counts as unset.

        Raises:
            ConfigurationError: a value is of the wrong form. The sentence names the setting and
                never repeats the value of a secret.
        """
        given = os.environ if environment is None else environment
        values = {name: given[name] for name in setting_names() if given.get(name)}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            place, what = first_mistake(error)
            raise ConfigurationError(f"{place.partition('.')[0]} is wrong: {what}.") from None

    def require(self, field: str) -> str:
        """The value of a setting that must be given, a secret in the clear.

        Raises:
            ConfigurationError: it is not set.
        """
        value = getattr(self, field)
        if value is None:
            setting = type(self).model_fields[field].alias or field
            raise not_set(setting, self.variable(setting))
        return value.get_secret_value() if isinstance(value, SecretStr) else str(value)

    def variable(self, setting: str) -> str:
        """The environment variable in which a secret stands."""
        named = self.secrets.get(setting)
        return named.env if isinstance(named, Variable) else setting

    @property
    def prefix(self) -> tuple[str, ...]:
        """What the keys of its assets begin with: the site's name, if it is one of several."""
        return (self.site,) if self.site else ()

    def site_name(self, word: str) -> str:
        """The name of a job, sensor or resource of this site: no other site has the same."""
        return "_".join((*self.prefix, word))

    def storage_url(self) -> str:
        """Where partitions are kept: the setting, or ``data`` under ``DAGSTER_HOME``.

        Several sites have a folder each there, unless the storage is a site's own.

        Raises:
            ConfigurationError: neither is set.
        """
        base = self._storage_base()
        return f"{base.rstrip('/')}/{self.folder}" if self.folder else base

    def _storage_base(self) -> str:
        if self.storage:
            return self.storage
        home = os.environ.get("DAGSTER_HOME")
        if not home:
            raise ConfigurationError(
                "CALIPER_STORAGE is not set, and neither is DAGSTER_HOME, under which partitions "
                "are kept by default."
            )
        return str(Path(home) / "data")

    def ledger(self) -> str:
        """The ledger's SQLAlchemy URL: the setting, or ``ledger.sqlite`` beside the storage.

        Sites whose partitions are in folders of one storage share the one beside it.

        Raises:
            ConfigurationError: the storage is an object store, beside which SQLite cannot be, or
                the variable that the site names is not set.
        """
        if self.ledger_url is not None or self.variable(LEDGER_URL) != LEDGER_URL:
            return self.require("ledger_url")
        storage = self._storage_base()
        if "://" in storage and not storage.startswith("file://"):
            raise ConfigurationError(
                "CALIPER_LEDGER_URL is not set: with CALIPER_STORAGE on an object store the ledger "
                "needs a database of its own, such as postgresql+psycopg2://…/ledger."
            )
        return f"sqlite:///{Path(storage.removeprefix('file://')) / 'ledger.sqlite'}"


def not_set(setting: str, variable: str) -> ConfigurationError:
    """The sentence about a setting that is needed; another variable than its own is named too."""
    (meaning,) = (
        field.description for field in Settings.model_fields.values() if field.alias == setting
    )
    named = setting if variable == setting else f"{setting} (${variable})"
    return ConfigurationError(f"{named} is not set: {meaning}.")


def setting_names() -> list[str]:
    """The environment variables of all settings, in the order of the documentation."""
    return [field.alias for field in Settings.model_fields.values() if field.alias]

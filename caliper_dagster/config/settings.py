"""The settings of a site: each one declared once, with key, variable, default, meaning and check.

They come from the environment (and from ``.env``, which the command line and ``dagster dev`` load)
or, for several sites, also from a file (``sites``). They are read and checked once, and passed on
as one frozen model. This module opens nothing. Whether a value works (a reachable database, an
accepted key) is found by the part that uses it; its error names the setting too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import (
    AfterValidator,
    ConfigDict,
    StringConstraints,
    field_validator,
)

from caliper_dagster.config.alerts import AlertSettings, CheckLimits
from caliper_dagster.config.declaration import (
    FILE_SUFFIX,
    Declaration,
    Mistake,
    Model,
    Reference,
    SecretReference,
    check,
    declarations,
    mistakes,
    nested,
    not_set,
    setting,
)
from caliper_dagster.config.event_store_settings import PSEUDONYM_KEY, EventStoreSettings
from caliper_dagster.config.value_checks import names, site_address
from caliper_dagster.core import file_modes
from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName
from caliper_dagster.core.hours import HOUR_FORM, Hour, parse_hour
from caliper_dagster.core.site_identity import SiteIdentity
from caliper_dagster.core.stored_fields import Addresses

TableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")]

FieldPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.]+$")]

AssetName = Literal["moodle_log", "expanded_log", "caliper_events", "emission_results"]


def _owner(text: str) -> str:
    if not _OWNER.fullmatch(text):
        raise ValueError("must be e-mail addresses or team:NAME, separated by commas")
    return text


_OWNER = re.compile(r"team:\S+|[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}")
"""What Dagster accepts as an owner."""


_MAX_DAYS = 100_000
_DAYS_FORM = (
    "must be assets with a number of days each, such as moodle_log=30,caliper_events=365; the "
    f"assets are {', '.join(get_args(AssetName))}"
)


def _site_id(text: str) -> str:
    if any(letter.isspace() or not letter.isprintable() for letter in text):
        raise ValueError("contains a space or a control character")
    if not text.rstrip("/"):
        raise ValueError("must be a name")
    return text.rstrip("/")


class InHostProject(Model):
    """How a site appears in a project of Dagster that has more than this project's sites.

    Attributes:
        key_prefix: what the keys of its assets begin with.
        group: of its assets; derived from the prefix when None.
        tags: of its assets, in addition to our own: name and value.
    """

    key_prefix: tuple[TableName, ...] = ()
    group: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")] | None = None
    tags: tuple[tuple[str, str], ...] = ()


class Settings(Model):
    """The settings of one Moodle site.

    Attributes:
        event_store: the settings of the single event store; where a file names several, the
            defaults of each.
        site: the name of the site, where a file names several; in a host's project its prefix.
        folder: the site's folder under ``storage``; None when the storage belongs to it alone.
        host: how it appears in the project of a host (``config.component``); None in our own.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    moodle_db_url: SecretReference | None = setting(
        "MOODLE_DB_URL",
        Reference(env="MOODLE_DB_URL"),
        "SQLAlchemy URL of Moodle's database: mysql+pymysql://…, postgresql+psycopg2://… or "
        "sqlite:///…; an account that may only SELECT is enough",
        secret=True,
    )
    moodle_db_prefix: str = setting(
        "MOODLE_DB_PREFIX",
        "mdl_",
        "table prefix ($CFG->prefix); set to nothing for tables without one",
        may_be_empty=True,
        pattern=r"^[A-Za-z0-9_]*$",
    )
    moodle_db_timeout: int = setting(
        "MOODLE_DB_TIMEOUT",
        300,
        "seconds after which a statement at Moodle's database is cancelled; if the database says "
        "nothing for five more, it is given up",
        gt=0,
    )
    moodle_db_without: tuple[TableName, ...] | None = setting(
        "MOODLE_DB_WITHOUT",
        None,
        "tables that a replica leaves out on purpose, separated by commas: events are sent without "
        "the names, roles or scores in them. Any other table that cannot be read stops the run",
    )
    moodle_log_db_url: SecretReference | None = setting(
        "MOODLE_LOG_DB_URL",
        Reference(env="MOODLE_LOG_DB_URL"),
        "SQLAlchemy URL of the database that the log is in, if it is not that of MOODLE_DB_URL; it "
        "may be on another kind of server",
        secret=True,
    )
    moodle_log_table: TableName | None = setting(
        "MOODLE_LOG_TABLE",
        None,
        "table of the log, with the table prefix or without it, if it is not that of Moodle's "
        "standard log: the one that the store `logstore_database` writes",
    )
    moodle_replica_wait: int = setting(
        "MOODLE_REPLICA_WAIT",
        24,
        "with MOODLE_LOG_DB_URL: hours that a log row waits, at most, for the database of "
        "MOODLE_DB_URL, which may be a replica that lags; 0 where it is Moodle's own database",
        ge=0,
    )
    moodle_wwwroot: Annotated[str, AfterValidator(site_address)] | None = setting(
        "MOODLE_WWWROOT", None, "the site's address ($CFG->wwwroot), base of all entity IRIs"
    )
    site_id: Annotated[str, AfterValidator(_site_id)] | None = setting(
        "CALIPER_SITE_ID",
        None,
        "stable name that event ids are made of; the value of MOODLE_WWWROOT when not set. When "
        "the address changes, set it to the former one",
    )
    sites: str | None = setting(
        "CALIPER_SITES",
        None,
        "file (YAML) that names several Moodle sites and the settings of each",
    )
    event_store: EventStoreSettings = EventStoreSettings(
        url=Reference(env="CALIPER_EVENT_STORE_URL"),
        api_key=Reference(env="CALIPER_API_KEY"),
        pseudonym_key=Reference(env=PSEUDONYM_KEY),
    )
    event_stores: str | None = setting(
        "CALIPER_EVENT_STORES",
        None,
        "file (YAML) that names several event stores, instead of CALIPER_EVENT_STORE_URL and "
        "CALIPER_API_KEY",
    )
    resend_changed: bool = setting(
        "CALIPER_RESEND_CHANGED",
        False,
        "send acknowledged events again when a newer release changes their content; an event "
        "store that does not de-duplicate by id then holds both",
    )
    withhold_invalid: bool = setting(
        "CALIPER_WITHHOLD_INVALID",
        True,
        "send no hour in which a log row is not explained or an event id occurs again, and no "
        "event that is not valid Caliper; false sends them, until `doctor` has shown how many "
        "there are",
    )
    start: Hour = setting(
        "CALIPER_START", Hour.from_key("2025-01-01-00:00"), "first hour of the partitions, UTC"
    )
    storage: str | None = setting(
        "CALIPER_STORAGE",
        None,
        "folder or object-store URL in which partitions are kept; `data` under DAGSTER_HOME when "
        "not set",
    )
    file_mode: Literal["600", "640"] = setting(
        file_modes.VARIABLE,
        file_modes.OWNER_ONLY,
        "mode of new files with personal data: 600 (their owner only) or 640 (their group may "
        "read, for analysts); folders accordingly. The same for all sites",
    )
    storage_key: SecretReference | None = setting(
        "CALIPER_STORAGE_KEY",
        Reference(env="CALIPER_STORAGE_KEY"),
        "key with which stored hours are encrypted, at least 32 characters; a former key, for "
        "hours that it has encrypted, goes into a line of its own below",
        secret=True,
    )
    stored_addresses: Addresses = setting(
        "CALIPER_STORED_ADDRESSES",
        "whole",
        "what stored hours have of the IP addresses in the log: whole, truncated (IPv4 to 24, IPv6 "
        "to 48 bits) or none",
    )
    stored_names: bool = setting(
        "CALIPER_STORED_NAMES",
        True,
        "store names, user names, id numbers and e-mail addresses of persons in stored hours; "
        "false where no event store gets them",
    )
    stored_texts: bool = setting(
        "CALIPER_STORED_TEXTS",
        True,
        "store texts that persons wrote in stored hours, such as posts, search terms and answers; "
        "false where no event store gets them",
    )
    ledger_url: SecretReference | None = setting(
        "CALIPER_LEDGER_URL",
        Reference(env="CALIPER_LEDGER_URL"),
        "SQLAlchemy URL of the ledger; SQLite beside the storage when not set",
        secret=True,
    )
    ledger_timeout: float = setting(
        "CALIPER_LEDGER_TIMEOUT",
        120,
        "seconds to wait for the answer of a ledger in PostgreSQL to a statement",
        gt=0,
    )
    hours_per_run: int = setting(
        "CALIPER_HOURS_PER_RUN", 336, "maximum number of hours in one run of a backfill", gt=0
    )
    schedule_lag: int = setting(
        "CALIPER_SCHEDULE_LAG",
        10,
        "minutes after the end of an hour at which the schedule processes it",
        ge=0,
        lt=60,
    )
    automation: bool = setting(
        "CALIPER_AUTOMATION",
        False,
        "switch the schedule and the sensors on by default; otherwise they are switched on in the "
        "web UI",
    )
    code_location: str = setting(
        "CALIPER_CODE_LOCATION",
        "caliper_dagster.definitions",
        "name of the code location in Dagster's workspace, under which the web UI lists the runs "
        "of the commands; with the Helm chart, the name of the deployment",
    )
    owners: tuple[Annotated[str, AfterValidator(_owner)], ...] | None = setting(
        "CALIPER_OWNERS",
        None,
        "who is responsible for the assets, as the web UI shows it: e-mail addresses or "
        "`team:NAME`, separated by commas",
    )
    send_immediately: bool = setting(
        "CALIPER_SEND_IMMEDIATELY",
        False,
        "also send the events of the current hour while its rows arrive; the sensor is then on by "
        "default",
    )
    send_interval: int = setting(
        "CALIPER_SEND_INTERVAL",
        5,
        "seconds between two checks for new rows with CALIPER_SEND_IMMEDIATELY",
        gt=0,
    )
    late_margin: int = setting(
        "CALIPER_LATE_MARGIN",
        30,
        "minutes during which the sensor checks again for rows below the highest id that it has "
        "seen: rows of a transaction that takes no longer than this are never missed",
        gt=0,
    )
    keep_partitions: tuple[tuple[AssetName, int], ...] | None = setting(
        "CALIPER_KEEP_PARTITIONS",
        None,
        "days for which stored hours are kept, by asset: `moodle_log=30,expanded_log=90,"
        "caliper_events=365`. All hours of an asset that is not named are kept, and every hour "
        "that an event store has not acknowledged",
    )
    keep_superseded_batches: int | None = setting(
        "CALIPER_KEEP_SUPERSEDED_BATCHES",
        None,
        "days for which the ledger keeps batches whose events were all acknowledged again later",
        gt=0,
    )
    keep_runs: int | None = setting(
        "CALIPER_KEEP_RUNS",
        None,
        "days for which Dagster's records of runs are kept, with their events and files; with "
        "several sites the longest time counts",
        gt=0,
    )
    keep_compute_logs: int | None = setting(
        "CALIPER_KEEP_COMPUTE_LOGS",
        None,
        "days for which the output of steps (compute logs) in DAGSTER_HOME is kept; with several "
        "sites the longest time counts",
        gt=0,
    )
    prune_hour: int | None = setting(
        "CALIPER_PRUNE_HOUR",
        None,
        "hour of the day, UTC, at which the job `retention` deletes what is older than these "
        "settings say; without it only `caliper-dagster prune` does",
        ge=0,
        lt=24,
    )
    erase_deleted_users: bool = setting(
        "CALIPER_ERASE_DELETED_USERS",
        False,
        "erase users whom Moodle has deleted, or whose deletion a data request of Moodle has "
        "completed, and export what approved data requests ask for, within an hour",
    )
    allowed_fields: tuple[FieldPath, ...] = setting(
        "CALIPER_ALLOWED_FIELDS",
        (),
        "fields of events that may hold values of persons which the privacy profile forbids, "
        "separated by commas, such as `object.name`: the leak check does not look there",
    )
    course_categories: bool = setting(
        "CALIPER_COURSE_CATEGORIES",
        False,
        "send the category of each course, as the organization that the course belongs to",
    )
    recipes: str | None = setting(
        "CALIPER_RECIPES",
        None,
        "file(s) of the site's own recipes, separated by commas; a later file overrides an earlier "
        "one",
    )
    checks: CheckLimits = CheckLimits()
    alerts: AlertSettings = AlertSettings()

    site: str | None = None
    folder: str | None = None
    host: InHostProject | None = None

    @field_validator("start", mode="before")
    @classmethod
    def _read_start(cls, value: object) -> object:
        try:
            return parse_hour(value, "") if isinstance(value, str) else value
        except ConfigurationError:
            raise ValueError(f"must be {HOUR_FORM}") from None

    @field_validator("allowed_fields", "moodle_db_without", "owners", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return names(value)

    @field_validator("keep_partitions", mode="before")
    @classmethod
    def _read_days(cls, value: object) -> object:
        if isinstance(value, Mapping):
            value = ",".join(f"{name}={number}" for name, number in value.items())
        if not isinstance(value, str):
            return value
        entries = [entry.partition("=") for entry in value.split(",") if entry.strip()]
        days = {name.strip(): number.strip() for name, _, number in entries}
        if len(days) < len(entries) or not all(
            name in get_args(AssetName) and number.isdecimal() and 0 < int(number) < _MAX_DAYS
            for name, number in days.items()
        ):
            raise ValueError(_DAYS_FORM)
        return tuple((name, int(number)) for name, number in days.items())

    @field_validator("keep_partitions")
    @classmethod
    def _keep_evidence(
        cls, value: tuple[tuple[AssetName, int], ...] | None
    ) -> tuple[tuple[AssetName, int], ...] | None:
        """The events of an hour show that it was acknowledged: they go last, or with the others."""
        days = dict(value or ())
        events = days.get("caliper_events", _MAX_DAYS)
        if max(days.get("moodle_log", 0), days.get("expanded_log", 0)) > events:
            raise ValueError(
                "must not keep moodle_log or expanded_log longer than caliper_events, by which it "
                "is known what was acknowledged; an asset that is not named is kept for ever"
            )
        return value

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings; an empty variable counts as not set, unless it may be empty.

        Args:
            environment: the variables; those of this process by default. Secrets are not read
                here, but from the environment of the process, or from the files that variables
                name, when they are used.

        Raises:
            ConfigurationError: a value is of the wrong form. The sentence names the setting and
                does not repeat the value.
        """
        variables = os.environ if environment is None else environment
        try:
            return check(cls, nested(values_from(variables)))
        except Mistake as mistake:
            raise _wrong(mistake) from None

    def require(self, key: str) -> str:
        """The value of a setting without which something cannot be done, a secret in the clear.

        Args:
            key: of the setting; the path of keys, joined by dots, for one of ``event_store``.

        Raises:
            ConfigurationError: it is not set, or the file in which it stands cannot be read.
        """
        declaration = declaration_at(tuple(key.split(".")))
        held: object = self
        for name in declaration.path:
            held = getattr(held, name)
        reference = held if isinstance(held, Reference) else None
        value = reference.value(declaration.variable) if reference else held
        if value is None:
            raise not_set(declaration, reference)
        return str(value)

    def log_db_url(self) -> str | None:
        """The SQLAlchemy URL of the log's database; None where it is that of all other tables.

        Raises:
            ConfigurationError: the variable to which a site refers is not set, or the file in which
                it stands cannot be read.
        """
        declaration, place = declaration_at(("moodle_log_db_url",)), self.moodle_log_db_url
        url = place.value(declaration.variable) if place else None
        if url is None and place and place.env != declaration.variable:
            raise not_set(declaration, place)
        return url

    def identity(self) -> SiteIdentity:
        """Which site it is.

        Raises:
            ConfigurationError: the address is not set.
        """
        address = self.require("moodle_wwwroot")
        chosen = self.site_id is not None
        return SiteIdentity(self.site_id or address, address, self.site, chosen)

    @property
    def prefix(self) -> tuple[str, ...]:
        """What the keys of its assets begin with: the site's name, if it is one of several."""
        if self.host is not None:
            return self.host.key_prefix
        return (self.site,) if self.site else ()

    def group(self, word: str) -> str:
        """The name of the group of its assets, or of those that belong to ``word``.

        Args:
            word: ``caliper`` for the assets that are made, otherwise what others belong to.
        """
        if self.host is None or self.host.group is None:
            return self.site_name(word)
        return self.host.group if word == "caliper" else f"{self.host.group}_{word}"

    def site_name(self, word: str) -> str:
        """The name of a job, sensor or resource of this site: no other site has the same."""
        return "_".join((*self.prefix, word))

    def storage_url(self) -> str:
        """Where partitions are kept: the setting, or ``data`` under ``DAGSTER_HOME``.

        Each of several sites has a folder there, unless the storage belongs to it alone.

        Raises:
            ConfigurationError: neither is set.
        """
        return storage_url(self.storage, self.folder)

    def ledger(self) -> str:
        """The ledger's SQLAlchemy URL: the setting, or ``ledger.sqlite`` beside the storage.

        Sites whose partitions are in folders of one storage share the ledger beside it.

        Raises:
            ConfigurationError: the storage is an object store, beside which SQLite cannot be, or
                the variable to which the site refers is not set.
        """
        return ledger_url(self.ledger_url, self.storage)

    def has_ledger(self) -> bool:
        """Whether the settings name a ledger, or a storage beside which it is.

        Raises:
            ConfigurationError: the file that names it cannot be read.
        """
        variable = declaration_at(("ledger_url",)).variable
        if self.ledger_url and (self.ledger_url.env != variable or self.ledger_url.value(variable)):
            return True
        base = self.storage or os.environ.get("DAGSTER_HOME") or ""
        return bool(base) and ("://" not in base or base.startswith("file://"))


def wrong_settings(environment: Mapping[str, str]) -> list[ConfigurationError]:
    """An error for each setting of an environment whose value is of the wrong form."""
    try:
        values = values_from(environment)
    except Mistake as mistake:
        return [_wrong(mistake)]
    errors = map(_wrong, mistakes(Settings, nested(values)))
    return [*{error.settings: error for error in errors}.values()]


def _wrong(mistake: Mistake) -> ConfigurationError:
    name = SettingName(declaration_at(mistake.path).variable)
    return ConfigurationError(Sentence(name, f" is wrong: {mistake.problem}."))


def storage_url(storage: str | None, folder: str | None = None) -> str:
    """Where partitions are kept.

    Args:
        storage: ``CALIPER_STORAGE``; ``data`` under ``DAGSTER_HOME`` when not set.
        folder: a folder in it, for one of several sites.

    Raises:
        ConfigurationError: neither ``CALIPER_STORAGE`` nor ``DAGSTER_HOME`` is set.
    """
    base = storage
    if not base:
        home = os.environ.get("DAGSTER_HOME")
        if not home:
            raise ConfigurationError(
                Sentence(
                    SettingName("CALIPER_STORAGE"),
                    " is not set, and neither is DAGSTER_HOME, under which partitions are kept by "
                    "default.",
                )
            )
        base = str(Path(home) / "data")
    return f"{base.rstrip('/')}/{folder}" if folder else base


def ledger_url(reference: Reference | None, storage: str | None) -> str:
    """The SQLAlchemy URL of the ledger.

    Args:
        reference: where ``CALIPER_LEDGER_URL`` stands. Its own variable may be empty: then the
            ledger is ``ledger.sqlite`` beside the storage.
        storage: ``CALIPER_STORAGE``.

    Raises:
        ConfigurationError: another variable is referred to and not set, or the file cannot be
            read, or there is no URL and SQLite cannot be beside the storage.
    """
    declaration = declaration_at(("ledger_url",))
    url = reference.value(declaration.variable) if reference else None
    if url:
        return url
    if reference and reference.env != declaration.variable:
        raise not_set(declaration, reference)
    base = storage_url(storage)
    if "://" in base and not base.startswith("file://"):
        raise ConfigurationError(
            Sentence(
                SettingName(declaration.variable),
                " is not set: with ",
                SettingName("CALIPER_STORAGE"),
                " on an object store the ledger needs a database of its own, such as "
                "postgresql+psycopg2://…/ledger.",
            )
        )
    return f"sqlite:///{Path(base.removeprefix('file://')) / 'ledger.sqlite'}"


@cache
def declared() -> Mapping[str, Declaration]:
    """All settings by their environment variables, in the order of the documentation."""
    return {declaration.variable: declaration for declaration in declarations(Settings)}


def setting_names() -> list[str]:
    """The environment variables of all settings, in the order of the documentation."""
    return [*declared()]


def environment_names() -> list[str]:
    """All variables from which settings are read, those that name files of secrets included."""
    files = [name + FILE_SUFFIX for name, setting in declared().items() if setting.secret]
    return [*declared(), *files]


def declaration_at(path: tuple[str, ...]) -> Declaration:
    """The setting at a path of the model, or the one that the path leads into."""
    (declaration,) = (
        declaration
        for declaration in declared().values()
        if declaration.path == path[: len(declaration.path)]
    )
    return declaration


def values_from(environment: Mapping[str, str]) -> dict[Declaration, object]:
    """The settings that an environment says; of a secret always the reference to its place.

    Raises:
        Mistake: it has a secret and the file of the secret, too.
    """
    values: dict[Declaration, object] = {}
    for variable, declaration in declared().items():
        if declaration.secret:
            values[declaration] = declaration.place(environment)
        elif environment.get(variable) or (
            declaration.may_be_empty and environment.get(variable) is not None
        ):
            values[declaration] = environment[variable]
    return values

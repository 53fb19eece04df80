"""The settings of one event store: each declared once, with key, variable, default and check.

What a file of event stores or a component says of one is read into the same model
(``event_stores``, ``component``). A default that depends on the privacy profile is None here;
``privacy`` fills it in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ValidationInfo, field_validator

from caliper_dagster.caliper.shapes import CANONICAL, ShapeName
from caliper_dagster.caliper.versions import NEWEST, VersionName
from caliper_dagster.config.declaration import Model, Reference, SecretReference, setting
from caliper_dagster.config.value_checks import names, site_address, split_url
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.folder_url import FOLDER_FORM, folder_address, is_folder
from caliper_dagster.core.privacy import IDENTIFIED, PROFILES, Profile, ProfileName, TimePrecision

PersonIdentifier = Literal[
    "SystemId", "AccountUserName", "SisSourcedId", "LisSourcedId", "EmailAddress", "LtiUserId"
]

CREDENTIALS = (
    "CALIPER_API_KEY",
    "CALIPER_EVENT_STORE_HEADERS",
    "CALIPER_OAUTH_TOKEN_URL",
    "CALIPER_OAUTH_CLIENT_ID",
    "CALIPER_OAUTH_CLIENT_SECRET",
    "CALIPER_OAUTH_SCOPE",
    "CALIPER_LOGIN_URL",
    "CALIPER_LOGIN_USERNAME",
    "CALIPER_LOGIN_PASSWORD",
)
"""What is sent to one event store only: a definition of another one does not inherit it."""

PSEUDONYM_KEY = "CALIPER_PSEUDONYM_KEY"
"""The key of one event store. It is not inherited either: with the same key two event stores can
join the same person."""

FORMERLY_OF_SITE: Mapping[str, object] = {
    "person_names": False,
    "person_identifiers": ("SystemId",),
    "free_text": False,
    "ip_addresses": False,
}
"""Settings of an event store that earlier releases had for a whole site, with their defaults then.

Components may still have them outside their block ``event_store``.
"""

_SENT_BY: Mapping[str, tuple[str, str]] = {
    "person_names": ("names of persons", "false"),
    "person_identifiers": ("identifiers of persons", "none"),
    "free_text": ("text that a person wrote", "false"),
    "ip_addresses": ("IP addresses", "false"),
}
"""What a switch of a profile sends, and the value with which it does not."""


def _may_send(profile: Profile, switch: str) -> bool:
    return not profile.anonymous if switch == "free_text" else not profile.keyed


def _without_secret(value: object) -> object:
    """The address of an event store as it may stand in a file: no part of it can be secret."""
    if value is None or isinstance(value, dict | Reference):
        return value
    text = value if isinstance(value, str) else ""
    if is_folder(text):
        folder_address(text)
        return value
    parts = split_url(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(
            f"must be an http or https URL, {FOLDER_FORM}, {{env: NAME}} or {{file: PATH}}"
        )
    if "@" in parts.netloc:
        raise ValueError("contains a user or a password, which belong into api_key")
    if parts.query:
        raise ValueError("contains a query, which may be secret: write {env: NAME} or {file: PATH}")
    return value


def _token_address(text: str) -> str:
    """The address of a token endpoint or a log-in."""
    parts = split_url(text)
    if "@" in parts.netloc:
        raise ValueError("contains a user or a password, which have settings of their own")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http or https URL")
    return text


def _without_secret_headers(value: object) -> object:
    """Headers as pairs; a plain value must not be one that is probably secret."""
    if not isinstance(value, Mapping):
        if value is None or isinstance(value, Reference | tuple):
            return value
        raise ValueError("must be names with a value each, or {env: NAME}, or {file: PATH}")
    for name, held in value.items():
        if not isinstance(name, str) or not isinstance(held, str | Reference):
            raise ValueError("must be texts, each below the name of its header")  # noqa: TRY004
        if isinstance(held, str) and _ABOUT_SECRETS.search(name):
            raise ValueError("may be secret: write {env: NAME} or {file: PATH}")
    return tuple(value.items())


_ABOUT_SECRETS = re.compile("auth|cookie|credential|key|pass|secret|session|sign|token", re.I)
"""What is in the names of headers whose values are secret."""


class EventStoreSettings(Model):
    """The settings of one event store, by their keys in the file of event stores."""

    url: Annotated[Reference | str, BeforeValidator(_without_secret)] | None = setting(
        "CALIPER_EVENT_STORE_URL",
        None,
        "URL to which envelopes are posted; or a folder for files of events: an absolute path, or "
        "a URL such as `s3://…`",
        secret=True,
    )
    api_key: SecretReference | None = setting(
        "CALIPER_API_KEY", None, "key, sent as `Authorization: Bearer …`", secret=True
    )
    auth_scheme: str = setting(
        "CALIPER_AUTH_SCHEME",
        "Bearer",
        "scheme before the key or token in `Authorization`; `none` sends it bare",
        pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
    )
    headers: (
        Annotated[
            Reference | tuple[tuple[str, Reference | str], ...],
            BeforeValidator(_without_secret_headers),
        ]
        | None
    ) = setting(
        "CALIPER_EVENT_STORE_HEADERS",
        None,
        'further headers of each request, as JSON: `{"X-Tenant": "…"}`',
        secret=True,
        by_name=True,
    )
    oauth_token_url: Annotated[str, AfterValidator(_token_address)] | None = setting(
        "CALIPER_OAUTH_TOKEN_URL",
        None,
        "OAuth 2.0 token endpoint: a token from there (client credentials) instead of a key",
    )
    oauth_client_id: str | None = setting(
        "CALIPER_OAUTH_CLIENT_ID", None, "client id at the token endpoint"
    )
    oauth_client_secret: SecretReference | None = setting(
        "CALIPER_OAUTH_CLIENT_SECRET",
        None,
        "the client's secret at the token endpoint",
        secret=True,
    )
    oauth_scope: str | None = setting(
        "CALIPER_OAUTH_SCOPE", None, "scope of the token; several are separated by spaces"
    )
    oauth_client_auth: Literal["basic", "form"] = setting(
        "CALIPER_OAUTH_CLIENT_AUTH",
        "basic",
        "how client id and secret reach the token endpoint: `basic` (HTTP Basic) or `form` (in "
        "the body)",
    )
    login_url: Annotated[str, AfterValidator(_token_address)] | None = setting(
        "CALIPER_LOGIN_URL",
        None,
        "address of a log-in that answers a JWT, such as OpenLRW's `…/api/auth/login`: that token "
        "instead of a key",
    )
    login_username: SecretReference | None = setting(
        "CALIPER_LOGIN_USERNAME", None, "user name (OpenLRW: the key) of the log-in", secret=True
    )
    login_password: SecretReference | None = setting(
        "CALIPER_LOGIN_PASSWORD", None, "password (OpenLRW: the secret) of the log-in", secret=True
    )
    timeout: float = setting(
        "CALIPER_EVENT_STORE_TIMEOUT", 30, "seconds to wait for the event store's answer", gt=0
    )
    connect_timeout: float = setting(
        "CALIPER_CONNECT_TIMEOUT", 10, "seconds to wait for a connection to the event store", gt=0
    )
    ca_file: str | None = setting(
        "CALIPER_CA_FILE",
        None,
        "file (PEM) of the certificate authorities to trust for the event store, instead of the "
        "default ones",
    )
    gzip: bool = setting(
        "CALIPER_GZIP",
        False,
        "compress envelopes with gzip, which the event store must accept; or the files in a folder",
    )
    envelopes_in_flight: int = setting(
        "CALIPER_ENVELOPES_IN_FLIGHT",
        2,
        "maximum number of envelopes that wait for an answer at the same time; above 1 they may "
        "arrive out of order",
        gt=0,
        le=32,
    )
    attempts: int = setting(
        "CALIPER_ATTEMPTS",
        6,
        "how often an envelope is posted to an event store that is down or busy before the run "
        "fails; the waits between attempts grow from 1 to 60 seconds",
        gt=0,
    )
    batch_size: int = setting(
        "CALIPER_BATCH_SIZE", 500, "maximum number of events per envelope", gt=0
    )
    batch_bytes: int = setting(
        "CALIPER_BATCH_BYTES",
        1_000_000,
        "maximum size of an envelope in bytes; a single larger event is sent alone",
        gt=1000,
    )
    caliper_version: VersionName = setting(
        "CALIPER_VERSION", NEWEST.name, "Caliper version of the events: v1p2 or v1p1"
    )
    shape: ShapeName = setting(
        "CALIPER_EVENT_STORE_SHAPE",
        CANONICAL.name,
        "shape of the events: `canonical`, `objects` (an object in place of each IRI of an entity) "
        "or `openlrw` (what OpenLRW takes)",
    )
    event_filter: str | None = setting(
        "CALIPER_EVENT_FILTER",
        None,
        "file (YAML) with the filter of the event store: of which log rows it is sent events",
    )
    privacy: ProfileName = setting(
        "CALIPER_PRIVACY",
        IDENTIFIED.name,
        "what the events tell about persons: `full` (everything), `identified` (Moodle's ids and "
        "roles, no names), `pseudonymous` (a pseudonym for each person, another one at each event "
        "store) or `anonymous` (no person at all); the last two need CALIPER_PSEUDONYM_KEY",
    )
    pseudonym_key: SecretReference | None = setting(
        PSEUDONYM_KEY,
        None,
        "key that pseudonyms are made with: at least 32 letters and digits at random, such as "
        "`openssl rand -hex 32` writes; another one for each event store. To change it from an "
        "hour on, add `2027-01-01T00:00Z NEWKEY` in a second line",
        secret=True,
    )
    pseudonym_base: Annotated[str, AfterValidator(site_address)] | None = setting(
        "CALIPER_PSEUDONYM_BASE",
        None,
        "URL below which the pseudonyms of persons are; they are `urn:uuid:…` when not set",
    )
    time_precision: TimePrecision = setting(
        "CALIPER_TIME_PRECISION",
        "second",
        "to what the times in events are cut down: `second` (Moodle's own precision), `minute`, "
        "`hour` or `day`, UTC",
    )
    person_names: bool | None = setting(
        "CALIPER_PERSON_NAMES",
        None,
        "send the full names of persons; with the profile `full` when not set",
    )
    person_identifiers: tuple[PersonIdentifier, ...] | None = setting(
        "CALIPER_PERSON_IDENTIFIERS",
        None,
        "which `otherIdentifiers` of persons are sent, separated by commas: SystemId, "
        "AccountUserName, SisSourcedId, LisSourcedId, EmailAddress, LtiUserId; `none` for none. "
        "When not set, all with the profile `full`, SystemId with `identified`",
    )
    free_text: bool | None = setting(
        "CALIPER_FREE_TEXT",
        None,
        "send text that persons wrote: subjects, tags, names of plans, titles of wiki pages, "
        "search terms, answers to questions; with the profile `full` when not set. Entries of a "
        "person's own calendar are never sent",
    )
    ip_addresses: bool | None = setting(
        "CALIPER_IP_ADDRESSES",
        None,
        "send the IP address of each log row; with the profile `full` when not set",
    )

    @field_validator("person_identifiers", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return names(value)

    @field_validator("person_names", "person_identifiers", "free_text", "ip_addresses")
    @classmethod
    def _agrees_with_profile(cls, value: object, info: ValidationInfo) -> object:
        """A switch may not send what the profile never sends."""
        profile = PROFILES.get(info.data.get("privacy", ""))
        if value and profile is not None and not _may_send(profile, str(info.field_name)):
            sent, instead = _SENT_BY[str(info.field_name)]
            raise ValueError(
                f"must be {instead}, for the privacy profile {profile.name} sends no {sent}"
            )
        return value

    @property
    def is_folder(self) -> bool:
        """Whether the event store is a folder of files; False while its URL is not known."""
        try:
            return is_folder(self.address() or "")
        except ConfigurationError:
            return False

    def address(self) -> str | None:
        """The URL, wherever it stands; None when it is not set. It may contain a secret.

        Raises:
            ConfigurationError: the file in which it stands cannot be read.
        """
        url = self.url
        return url.value("CALIPER_EVENT_STORE_URL") if isinstance(url, Reference) else url

"""Wrong settings: one clear sentence that names the setting, exit status 2, and no secret anywhere.

All of it on one installation whose hours are translated and of which nothing was ever sent.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.dagster.build import build_definitions
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.jobs import CHAIN_JOB, RESEND_JOB
from caliper_dagster.dagster.partitions import range_tags
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster_tests.harness.commands import CommandResult
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.installation import KEY, Installation, between, installation

END = Hour.from_key("2026-03-02-12:00")
HOURS = HourRange(END + -1, END)
OPTIONS = {
    "backfill": between(HOURS),
    "translate": (*between(HOURS), "--out", "events.ndjson"),
    "resend": between(HOURS),
    "doctor": (),
}

DATABASE_SECRET = "hush-database/1"
STORE_SECRET = "hush-store/2"
TOKEN = "hush-token/3"
LEDGER_SECRET = "hush-ledger/4"
DAGSTER_SECRET = "hush-dagster/5"
WRONG_KEY = "hush-wrong-key/6"
SECRETS = (KEY, DATABASE_SECRET, STORE_SECRET, TOKEN, LEDGER_SECRET, DAGSTER_SECRET, WRONG_KEY)
FORMS = [form for secret in SECRETS for form in (secret, secret.replace("/", "%2F"))]

READING = ("backfill", "translate", "doctor")
SENDING = ("backfill", "resend", "doctor")
KEEPING = ("backfill", "resend", "doctor")
ALL = ("backfill", "translate", "resend", "doctor")


@dataclass(frozen=True)
class Wrong:
    """Wrong settings, the sentence about them, and the commands that must say it.

    In the values, ``{folder}`` is a folder of the test, ``{mariadb}`` a server, ``{store}`` the
    event store's address; None unsets.
    """

    sentence: str
    commands: tuple[str, ...]
    settings: Mapping[str, str | None]


def database(url: str | None, sentence: str) -> Wrong:
    return Wrong(sentence, READING, {"MOODLE_DB_URL": url})


def event_store(sentence: str, **settings: str | None) -> Wrong:
    return Wrong(sentence, SENDING, settings)


AT_RUN = {
    "no database": database(None, "MOODLE_DB_URL is not set: "),
    "database that does not answer": database(
        "mysql+pymysql://caliper:hush-database%2F1@127.0.0.1:9/moodle",
        "MOODLE_DB_URL: no database answers at 127.0.0.1:9: start it, ",
    ),
    "PostgreSQL database that does not answer": database(
        "postgresql+psycopg2://caliper:hush-database%2F1@127.0.0.1:9/moodle",
        "MOODLE_DB_URL: no database answers at 127.0.0.1:9: start it, ",
    ),
    "wrong password": database(
        "mysql+pymysql://caliper:hush-database%2F1@{mariadb}/moodle",
        "MOODLE_DB_URL: the database at {mariadb} refuses this user and password: correct them.",
    ),
    "wrong scheme": database(
        "oracle://caliper:hush-database%2F1@127.0.0.1/moodle", "MOODLE_DB_URL must be an SQLAlchemy"
    ),
    "secret instead of a database": database("hush-database/1", "MOODLE_DB_URL must be an SQLAlch"),
    "database file that is not there": database(
        "sqlite:///{folder}/none.sqlite", "MOODLE_DB_URL names the file {folder}/none.sqlite, "
    ),
    "wrong prefix": Wrong(
        "MOODLE_DB_PREFIX: the database of MOODLE_DB_URL has no table m_logstore_standard_log",
        READING,
        {"MOODLE_DB_PREFIX": "m_"},
    ),
    "no site address": Wrong("MOODLE_WWWROOT is not set: ", ALL, {"MOODLE_WWWROOT": None}),
    "no event store": event_store(
        "CALIPER_EVENT_STORE_URL is not set: ", CALIPER_EVENT_STORE_URL=None
    ),
    "event store that is down": event_store(
        "The event store at http://127.0.0.1:9/caliper cannot be reached (Connection refused): "
        "check CALIPER_EVENT_STORE_URL",
        CALIPER_EVENT_STORE_URL="http://127.0.0.1:9/caliper?key=hush-token%2F3",
    ),
    "event store with an account": event_store(
        "CALIPER_EVENT_STORE_URL must hold neither user nor password: put them into CALIPER_API",
        CALIPER_EVENT_STORE_URL="http://me:hush-store%2F2@127.0.0.1:9/caliper?key=hush-token%2F3",
    ),
    "token endpoint that is down": event_store(
        "The token endpoint at http://127.0.0.1:9/token cannot be reached (Connection refused): "
        "check CALIPER_OAUTH_TOKEN_URL",
        CALIPER_API_KEY=None,
        CALIPER_OAUTH_TOKEN_URL="http://127.0.0.1:9/token",
        CALIPER_OAUTH_CLIENT_ID="client",
        CALIPER_OAUTH_CLIENT_SECRET="hush-store/2",
    ),
    "key in a file that is not there": event_store(
        "CALIPER_API_KEY: its file {folder}/none cannot be read (No such file or directory).",
        CALIPER_API_KEY=None,
        CALIPER_API_KEY_FILE="{folder}/none",
    ),
    "event store of a wrong scheme": event_store(
        "CALIPER_EVENT_STORE_URL must be an http or https URL",
        CALIPER_EVENT_STORE_URL="ftp://me:hush-store%2F2@127.0.0.1/caliper?key=hush-token%2F3",
    ),
    # The doctor sends no events, and an event store need not answer its GET.
    "wrong path": Wrong(
        "The event store at {store}/caliper/none answered 404 (Not Found): check "
        "CALIPER_EVENT_STORE_URL.",
        ("backfill", "resend"),
        {"CALIPER_EVENT_STORE_URL": "{store}/caliper/none?key=hush-token%2F3"},
    ),
    "wrong key": event_store(
        "The event store at {store}/caliper answered 401: check CALIPER",
        CALIPER_API_KEY=WRONG_KEY,
    ),
    "no key": event_store(
        "The event store at {store}/caliper answered 401: check CALIPER",
        CALIPER_API_KEY=None,
    ),
    "wrong authentication scheme": event_store(
        "The event store at {store}/caliper answered 401: check CALIPER",
        CALIPER_AUTH_SCHEME="none",
    ),
    "key of strange characters": event_store(
        "CALIPER_API_KEY holds a character", CALIPER_API_KEY=f"{WRONG_KEY}\n€"
    ),
    "storage that cannot be written to": Wrong(
        "CALIPER_STORAGE cannot be ",
        KEEPING,
        {"CALIPER_STORAGE": "{folder}/file/data", "CALIPER_LEDGER_URL": "sqlite:///{folder}/l"},
    ),
    "storage of an unknown kind": Wrong(
        "CALIPER_STORAGE must be a folder or a URL",
        KEEPING,
        {
            "CALIPER_STORAGE": "nowhere://me:hush-store%2F2@data",
            "CALIPER_LEDGER_URL": "sqlite:///{folder}/l",
        },
    ),
    "object store without a ledger": Wrong(
        "CALIPER_LEDGER_URL is not set: ", KEEPING, {"CALIPER_STORAGE": "memory://data"}
    ),
    "ledger that does not answer": Wrong(
        "CALIPER_LEDGER_URL is wrong: the ledger at postgresql+psycopg2://127.0.0.1:9/ledger "
        "cannot be opened (",
        KEEPING,
        {"CALIPER_LEDGER_URL": "postgresql+psycopg2://me:hush-ledger%2F4@127.0.0.1:9/ledger"},
    ),
    "ledger that cannot be written to": Wrong(
        "CALIPER_LEDGER_URL is wrong: the ledger at sqlite:///{folder}/file/ledger.sqlite ",
        KEEPING,
        {"CALIPER_LEDGER_URL": "sqlite:///{folder}/file/ledger.sqlite"},
    ),
    "ledger of a wrong scheme": Wrong(
        "CALIPER_LEDGER_URL must be an SQLAlchemy URL",
        KEEPING,
        {"CALIPER_LEDGER_URL": "mysql+pymysql://me:hush-ledger%2F4@127.0.0.1:9/ledger"},
    ),
}
"""What a run meets: said by commands, and by failed runs in Dagster."""

BEFORE_RUN = {
    "no Dagster home": Wrong(
        "DAGSTER_HOME is not set: ", ("backfill", "resend"), {"DAGSTER_HOME": None}
    ),
    "Dagster home that cannot be written to": Wrong(
        "DAGSTER_HOME cannot be written to: {folder}/file/home (",
        KEEPING,
        {"DAGSTER_HOME": "{folder}/file/home", "CALIPER_STORAGE": "{folder}/data"},
    ),
    "Dagster database that does not answer": Wrong(
        "Dagster's storage cannot be opened (",
        ("resend",),
        {"DAGSTER_POSTGRES_URL": "postgresql://me:hush-dagster%2F5@127.0.0.1:9/dagster"},
    ),
    "nonsense as the start": Wrong(
        "CALIPER_START is wrong: must be a full hour in UTC", ALL, {"CALIPER_START": "yesterday"}
    ),
    "start after the hours": Wrong(
        "--from is before the first hour, CALIPER_START ",
        ("backfill", "resend"),
        {"CALIPER_START": "2026-03-03"},
    ),
    "nonsense as batch size": Wrong(
        "CALIPER_BATCH_SIZE is wrong: ", ALL, {"CALIPER_BATCH_SIZE": "many"}
    ),
    "batches of nothing": Wrong("CALIPER_BATCH_SIZE is wrong: ", ALL, {"CALIPER_BATCH_SIZE": "0"}),
    "unknown version": Wrong("CALIPER_VERSION is wrong: ", ALL, {"CALIPER_VERSION": "v9"}),
    "nonsense as prefix": Wrong(
        "MOODLE_DB_PREFIX is wrong: ", ALL, {"MOODLE_DB_PREFIX": "mdl; DROP"}
    ),
    "nonsense as site address": Wrong(
        "MOODLE_WWWROOT is wrong: ", ALL, {"MOODLE_WWWROOT": "moodle.example.org"}
    ),
}
"""What a command finds before any run begins."""

CASES = AT_RUN | BEFORE_RUN


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Hours that are translated, and a settings mistake that has kept them from being sent."""
    folder = tmp_path_factory.mktemp("installation")
    sample = write_sample(folder / "moodle.sqlite", students=10, hours=2, seed=10, end=END)
    url = f"sqlite:///{sample.path}"
    with installation(folder, url, sample.wwwroot, CALIPER_START="2026-03-01") as found:
        assert found.run("backfill", *between(HOURS), CALIPER_API_KEY=WRONG_KEY).status == 2
        (folder / "file").touch()
        yield found
        assert found.arrived().envelopes == 0


@pytest.fixture
def wrong(site: Installation, case: str, request: pytest.FixtureRequest) -> Wrong:
    """A case, with its places filled in."""

    def filled(text: str) -> str:
        if "{mariadb}" in text:
            url = request.getfixturevalue("mariadb_server").url
            text = text.replace("{mariadb}", f"{url.host}:{url.port}")
        store = site.settings["CALIPER_EVENT_STORE_URL"].removesuffix("/caliper")
        return text.replace("{store}", store).replace("{folder}", str(site.folder))

    found = CASES[case]
    settings = {name: value and filled(value) for name, value in found.settings.items()}
    return Wrong(filled(found.sentence), found.commands, settings)


def assert_no_secret(site: Installation, *texts: str) -> None:
    """None in what was said, none in what Dagster keeps."""
    for text in texts:
        assert [form for form in FORMS if form in text] == []
    for path in site.home.rglob("*"):
        if path.is_file():
            kept = path.read_bytes()
            assert [form for form in FORMS if form.encode() in kept] == [], path


def sentences(command: str, told: CommandResult) -> list[str]:
    """What the command found wrong; the doctor says it in its list."""
    if command == "doctor" and told.out:
        assert re.fullmatch(r"\d+ problems? to fix\.\n", told.err)
        return re.findall(r"^BROKEN  .{16}  (.*)$", told.out, re.M)
    return told.err.splitlines()


@pytest.mark.parametrize(
    ("command", "case"),
    [(command, case) for case, wrong in CASES.items() for command in wrong.commands],
)
def test_a_wrong_setting_is_one_sentence_that_names_it(
    site: Installation, command: str, case: str, wrong: Wrong
) -> None:
    told = site.run(command, *OPTIONS[command], **wrong.settings)

    assert told.status == 2
    (sentence,) = sentences(command, told)
    assert sentence.startswith(wrong.sentence)
    assert sentence.endswith(".")
    assert_no_secret(site, told.out, told.err)


@pytest.mark.parametrize("case", AT_RUN)
def test_a_wrong_setting_is_a_failed_run_with_the_same_sentence(
    site: Installation, case: str, wrong: Wrong
) -> None:
    """As the daemon would have it: the run begins, and what Dagster stores of it says why."""
    job = RESEND_JOB if "resend" in wrong.commands else CHAIN_JOB
    tags = range_tags(HOURS)
    given = {**site.settings, **wrong.settings}
    with (
        environment({name: value for name, value in given.items() if value}),
        open_instance() as instance,
    ):
        executed = (
            build_definitions()
            .resolve_job_def(job)
            .execute_in_process(instance=instance, raise_on_error=False, tags=tags)
        )
        stored = [entry.dagster_event for entry in instance.all_logs(executed.run_id)]

    assert not executed.success
    (failed,) = (event for event in stored if event is not None and event.is_step_failure)
    sentence = failed.step_failure_data.user_failure_data.description
    assert sentence.startswith(wrong.sentence)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert_no_secret(site, *map(repr, stored))


@pytest.mark.parametrize(
    ("command", "case"),
    [
        ("backfill", "wrong password"),
        ("translate", "secret instead of a database"),
        ("resend", "event store that is down"),
        ("resend", "wrong key"),
        ("resend", "ledger that does not answer"),
        ("doctor", "database that does not answer"),
    ],
)
def test_stack_traces_that_are_asked_for_hold_no_secret(
    site: Installation, command: str, case: str, wrong: Wrong
) -> None:
    told = site.run(command, *OPTIONS[command], "--verbose", **wrong.settings)

    assert told.status != 0
    assert "Traceback" in told.err
    assert_no_secret(site, told.out, told.err)

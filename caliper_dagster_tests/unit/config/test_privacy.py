"""Privacy of an event store: profile, switches, keys, and who shares events with whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from caliper_dagster.caliper.shapes import Rendering
from caliper_dagster.config.event_stores import (
    EventStoreDefinition,
    event_stores,
    events_frame,
    mapping_revision,
    renderings,
)
from caliper_dagster.config.privacy import EffectivePrivacy
from caliper_dagster.config.pseudonym_keys import PseudonymKeys
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.key_schedule import key_fingerprint
from caliper_dagster.core.privacy import PROFILES
from caliper_dagster.delivery.stored_frames import frame_named

SITE = {"MOODLE_WWWROOT": "https://moodle.example.org"}
KEY = "0123456789abcdefghijklmnopqrstuvw"
OTHER = "9876543210ABCDEFGHIJKLMNOPQRSTUVW"
YEAR = Hour.from_key("2027-01-01-00:00")


def privacy(**variables: str) -> EffectivePrivacy:
    settings = Settings.from_environment({**SITE, **variables})
    return event_stores(settings)[0].effective_privacy


def in_file(folder: Path, text: str, **variables: str) -> Settings:
    file = folder / "stores.yaml"
    file.write_text(text, encoding="utf-8")
    return Settings.from_environment({**SITE, "CALIPER_EVENT_STORES": str(file), **variables})


def named(settings: Settings) -> dict[str | None, EventStoreDefinition]:
    return {store.name: store for store in event_stores(settings)}


def test_without_a_word_ids_leave_and_names_do_not() -> None:
    found = privacy()
    assert found.profile is PROFILES["identified"]
    assert (found.names, found.identifiers, found.ip_addresses) == (False, ("SystemId",), False)
    assert found.texts == {"institutional", "shared"}
    assert (found.time_precision, found.pseudonym_base) == ("second", None)


def test_full_sends_all_and_a_switch_takes_something_out() -> None:
    found = privacy(CALIPER_PRIVACY="full")
    assert found.names
    assert found.ip_addresses
    assert {"AccountUserName", "EmailAddress", "SystemId"} <= set(found.identifiers)
    assert found.texts == {"institutional", "shared", "personal", "person"}
    less = privacy(CALIPER_PRIVACY="full", CALIPER_FREE_TEXT="false", CALIPER_IP_ADDRESSES="no")
    assert (less.names, less.ip_addresses) == (True, False)
    assert less.texts == {"institutional", "shared", "person"}


def test_switches_add_to_what_is_sent_by_default() -> None:
    found = privacy(
        CALIPER_PERSON_NAMES="true",
        CALIPER_PERSON_IDENTIFIERS="none",
        CALIPER_FREE_TEXT="true",
        CALIPER_TIME_PRECISION="hour",
    )
    assert found.texts == {"institutional", "shared", "personal", "person"}
    assert (found.identifiers, found.time_precision) == ((), "hour")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        (
            "CALIPER_PERSON_NAMES",
            "true",
            "must be false, for the privacy profile {} sends no names",
        ),
        (
            "CALIPER_PERSON_IDENTIFIERS",
            "SystemId",
            "must be none, for the privacy profile {} sends",
        ),
        ("CALIPER_IP_ADDRESSES", "true", "must be false, for the privacy profile {} sends no IP"),
    ],
)
@pytest.mark.parametrize("profile", ["pseudonymous", "anonymous"])
def test_a_switch_cannot_contradict_a_keyed_profile(
    profile: str, variable: str, value: str, said: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        privacy(CALIPER_PRIVACY=profile, **{variable: value})
    assert str(error.value).startswith(f"{variable} is wrong: {said.format(profile)}")


def test_no_text_of_a_person_is_anonymous() -> None:
    with pytest.raises(ConfigurationError, match="CALIPER_FREE_TEXT is wrong: must be false, for"):
        privacy(CALIPER_PRIVACY="anonymous", CALIPER_FREE_TEXT="true")
    assert "personal" in privacy(CALIPER_PRIVACY="pseudonymous", CALIPER_FREE_TEXT="true").texts


def test_switches_that_are_off_agree_with_every_profile() -> None:
    off = {
        "CALIPER_PERSON_NAMES": "false",
        "CALIPER_PERSON_IDENTIFIERS": "none",
        "CALIPER_IP_ADDRESSES": "false",
    }
    assert privacy(CALIPER_PRIVACY="anonymous", **off).identifiers == ()


def test_a_contradiction_in_the_file_names_event_store_and_key(tmp_path: Path) -> None:
    settings = in_file(
        tmp_path,
        "lrs:\n  url: https://lrs.example.org\n  privacy: anonymous\n"
        "  pseudonym_key: {env: LRS_KEY}\n",
        CALIPER_PERSON_NAMES="true",
    )
    with pytest.raises(ConfigurationError, match=r"event store lrs: person_names: must be false"):
        event_stores(settings)


def test_the_base_of_pseudonyms_is_an_address() -> None:
    base = "https://id.example.org/people"
    found = privacy(CALIPER_PRIVACY="pseudonymous", CALIPER_PSEUDONYM_BASE=f"{base}/")
    assert found.pseudonym_base == base
    assert privacy(CALIPER_PSEUDONYM_BASE=base).pseudonym_base is None
    for wrong in ("people", "https://id.example.org/?a=b", "https://id.example.org/a b"):
        with pytest.raises(ConfigurationError, match="CALIPER_PSEUDONYM_BASE is wrong"):
            privacy(CALIPER_PSEUDONYM_BASE=wrong)


def test_a_keyed_profile_needs_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CALIPER_PSEUDONYM_KEY", raising=False)
    settings = Settings.from_environment({**SITE, "CALIPER_PRIVACY": "pseudonymous"})
    (store,) = event_stores(settings)
    with pytest.raises(
        ConfigurationError,
        match="CALIPER_PSEUDONYM_KEY is not set, and the privacy profile pseudonymous makes",
    ):
        store.pseudonym_keys()
    monkeypatch.setenv("CALIPER_PSEUDONYM_KEY", KEY)
    keys = store.pseudonym_keys()
    assert keys is not None
    assert keys.at(YEAR) == KEY.encode()
    assert event_stores(Settings.from_environment(SITE))[0].pseudonym_keys() is None
    without = in_file(tmp_path, "lrs:\n  url: https://lrs.example.org\n  privacy: anonymous\n")
    with pytest.raises(
        ConfigurationError,
        match=r"event store lrs: pseudonym_key: is missing, and the privacy profile anonymous",
    ):
        event_stores(without)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must have at least 32 characters"),
        ("short-secret", "must have at least 32 characters"),
        ("ab" * 32, "must have at least 8 different characters"),
        (KEY + "é", "may have only letters, digits and signs of ASCII"),
        (f"2027-01-01T00:00Z {KEY}", "the first key has no time"),
        (f"{KEY}\n{OTHER}", "each key after the first one must follow a full hour in UTC"),
        (f"{KEY}\nhush-hush {OTHER}", "each key after the first one must follow a full hour"),
        (
            f"{KEY}\n2027-01-01 {OTHER}\n2026-01-01 {KEY}",
            "its hours must ascend, but 2026-01-01T00:00Z follows 2027-01-01T00:00Z",
        ),
    ],
)
def test_a_wrong_key_is_one_sentence_without_it(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        PseudonymKeys.parse(text)
    sentence = str(error.value)
    assert sentence.startswith("CALIPER_PSEUDONYM_KEY is wrong: ")
    assert said in sentence
    assert not any(word and word in sentence for word in (KEY, OTHER, "hush", "short-secret"))


def test_a_later_key_changes_nothing_before_its_hour() -> None:
    before = PseudonymKeys.parse(KEY)
    after = PseudonymKeys.parse(f"{KEY}\n2027-01-01T00:00Z {OTHER}\n")
    assert before.at(YEAR + -1) == after.at(YEAR + -1) == KEY.encode()
    assert after.at(YEAR) == after.at(YEAR + 1000) == OTHER.encode()
    chunk = HourRange(YEAR + -2, YEAR + 3)
    assert list(after.spans(chunk)) == [
        (HourRange(YEAR + -2, YEAR), KEY.encode()),
        (HourRange(YEAR, YEAR + 3), OTHER.encode()),
    ]
    assert list(before.spans(chunk)) == [(chunk, KEY.encode())]
    assert next(after.spans(HourRange(YEAR, YEAR + 2)))[1] == OTHER.encode()
    assert before.schedule().first_difference(after.schedule()) == YEAR
    assert before.schedule().first_difference(PseudonymKeys.parse(OTHER).schedule()) == Hour(0)
    assert after.schedule().first_difference(after.schedule()) is None
    assert KEY not in repr(after)


def test_a_single_event_store_keeps_the_name_of_its_assets() -> None:
    for profile in PROFILES:
        settings = Settings.from_environment({**SITE, "CALIPER_PRIVACY": profile})
        (rendering,) = renderings(settings)
        assert rendering == Rendering("v1p2", "canonical", profile)  # type: ignore[arg-type]
        assert events_frame(settings, rendering).name == "caliper_events"


def test_event_stores_with_keys_share_their_events_with_no_other(tmp_path: Path) -> None:
    text = (
        "one:\n  url: https://one.example.org\n  privacy: pseudonymous\n"
        "  pseudonym_key: {env: ONE}\n"
        "two:\n  url: https://two.example.org\n  privacy: pseudonymous\n"
        "  pseudonym_key: {file: /run/secrets/two}\n"
    )
    settings = in_file(tmp_path, text)
    frames = {events_frame(settings, rendering).name for rendering in renderings(settings)}
    assert frames == {
        "caliper_events_v1p2_pseudonymous_one",
        "caliper_events_v1p2_pseudonymous_two",
    }
    assert {frame_named(name).name for name in frames} == frames
    with_another = in_file(tmp_path, text + "three:\n  url: https://three.example.org\n")
    assert {events_frame(with_another, it).name for it in renderings(with_another)} == {
        *frames,
        "caliper_events",
    }


def test_privacy_settings_of_its_own_make_events_of_its_own(tmp_path: Path) -> None:
    settings = in_file(
        tmp_path,
        "one: {url: https://one.example.org}\n"
        "two: {url: https://two.example.org}\n"
        "objects: {url: https://three.example.org, free_text: true}\n"
        "four: {url: https://four.example.org, privacy: full}\n",
    )
    stores = named(settings)
    assert [store.rendering.own for store in stores.values()] == [None, None, "objects", None]
    assert [events_frame(settings, it).name for it in renderings(settings)] == [
        "caliper_events",
        "caliper_events_v1p2_full",
        "caliper_events_v1p2_identified_objects",
    ]


def test_a_key_of_the_environment_is_no_key_of_the_file(tmp_path: Path) -> None:
    text = "one:\n  url: https://one.example.org\n  privacy: pseudonymous\n"
    with pytest.raises(ConfigurationError, match="pseudonym_key: is missing"):
        event_stores(in_file(tmp_path, text, CALIPER_PSEUDONYM_KEY=KEY))


def test_profiles_with_the_same_ids_have_revisions_of_their_own() -> None:
    def revision(profile: str) -> int:
        settings = Settings.from_environment({**SITE, "CALIPER_PRIVACY": profile})
        return mapping_revision(settings, renderings(settings)[0])

    assert revision("identified") != revision("full")
    assert revision("pseudonymous") != revision("anonymous")
    shapes = Settings.from_environment({**SITE, "CALIPER_EVENT_STORE_SHAPE": "openlrw"})
    assert revision("full") != mapping_revision(shapes, renderings(shapes)[0])


def test_an_hour_tells_the_privacy_that_made_it() -> None:
    usual, names = privacy(), privacy(CALIPER_PERSON_NAMES="true")
    keyed = privacy(CALIPER_PRIVACY="pseudonymous")
    one, two = key_fingerprint(KEY.encode()), key_fingerprint(OTHER.encode())
    assert usual.has_made(usual.stats(None), None)
    assert not usual.has_made(names.stats(None), None)
    assert keyed.has_made(keyed.stats(one), one)
    assert not keyed.has_made(keyed.stats(two), one)
    assert not keyed.has_made(usual.stats(None), None)
    # Releases without profiles recorded nothing; they made no pseudonyms.
    assert usual.has_made({}, None)
    assert not keyed.has_made({}, None)

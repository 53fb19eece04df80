"""Pseudonyms of persons: which they are, and what they do not tell."""

from __future__ import annotations

import hashlib
import hmac
import uuid

from caliper_dagster.translator.identity import keyed_person, keyed_uuid

KEY = b"0123456789abcdef0123456789abcdef"
SITE = "https://moodle.example.org"


def by_hand(key: bytes, message: bytes) -> uuid.UUID:
    """RFC 2104 and RFC 9562, 5.8, spelt out."""
    block = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + message).digest()
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).digest()
    number = int.from_bytes(outer[:16])
    number = number & ~(0xF << 76) | 8 << 76
    return uuid.UUID(int=number & ~(0x3 << 62) | 2 << 62)


def test_a_pseudonym_is_an_hmac_of_site_and_user():
    expected = by_hand(KEY, b"https://moodle.example.org\0user\x0021")
    assert keyed_person(KEY, SITE, 21, None) == f"urn:uuid:{expected}"
    assert expected.version == 8
    assert expected.variant == uuid.RFC_4122


def test_a_pseudonym_may_be_below_an_address():
    pseudonym = keyed_person(KEY, SITE, 21, None).removeprefix("urn:uuid:")
    for base in ("https://id.example.org/p", "https://id.example.org/p/"):
        assert keyed_person(KEY, SITE, 21, base) == f"https://id.example.org/p/{pseudonym}"


def test_key_site_and_user_each_give_another_one():
    found = {
        keyed_person(key, site, user, None)
        for key in (KEY, KEY[::-1])
        for site in (SITE, "https://other.example.org")
        for user in (21, 51)
    }
    assert len(found) == 8


def test_what_is_joined_stays_apart():
    assert keyed_uuid(KEY, "a", "bc", "d") != keyed_uuid(KEY, "ab", "c", "d")
    assert hmac.compare_digest(
        uuid.UUID(keyed_uuid(KEY, "a", "b", "c")).bytes[:6],
        hmac.digest(KEY, b"a\0b\0c", "sha256")[:6],
    )

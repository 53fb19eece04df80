"""What settings of several kinds have in common: lists in a text, URLs.

The functions are validators of pydantic, or parts of some: their ``ValueError`` says what a value
must be, and never repeats it.
"""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit


def listed(text: str) -> tuple[str, ...]:
    """The values in a text that commas separate, without spaces around them and empty ones."""
    return tuple(value.strip() for value in text.split(",") if value.strip())


def split_url(text: str) -> SplitResult:
    """The parts of a URL; an error in our words when it has none."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # It is read, and may be no number, only when it is asked for.
    except ValueError:
        raise ValueError("must be an http or https URL") from None
    return parts


def http_url(text: str) -> str:
    """A URL of HTTP without a slash at its end."""
    parts = split_url(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http or https URL")
    return text.rstrip("/")


def site_address(text: str) -> str:
    """A site's address as Moodle has it, or the base of IRIs, without a slash at its end."""
    parts = split_url(text)
    if any(letter.isspace() or not letter.isprintable() for letter in text):
        raise ValueError("contains a space or a control character")
    if parts.username is not None or parts.query or parts.fragment or text[-1:] in "?#":
        raise ValueError("must have no user, query or fragment")
    return http_url(text)


def names(value: object) -> object:
    """A list of names; as a text separated by commas, or `none`."""
    if not isinstance(value, str):
        return value
    found = listed(value)
    return () if found == ("none",) else found

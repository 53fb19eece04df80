"""URLs of folders to which files are written whole: which there are, and their one spelling."""

from __future__ import annotations

from urllib.parse import urlsplit

OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})
"""Protocols whose objects come into their place whole, by one request."""

FOLDER_FORM = (
    "the absolute path of a folder, or its URL in an object store (s3://…, gs://…, abfs://…)"
)
_FILE = "file://"


def is_folder(url: str) -> bool:
    """Whether a URL is that of a folder: a path, ``file://…``, or one in an object store."""
    scheme, separator, _ = url.partition("://")
    return url.startswith(("/", _FILE)) or bool(separator and scheme in OBJECT_STORES)


def folder_address(url: str) -> str:
    """The path of a local folder, or the URL of a folder in an object store; in one spelling.

    Raises:
        ValueError: it is neither, or may hold a secret; the text begins with a verb, and repeats
            nothing of the URL.
    """
    path = url.removeprefix(_FILE)
    if path.startswith("/"):
        return path.rstrip("/") or "/"
    try:
        parts = urlsplit(url)
    except ValueError:  # Its text may repeat user and password.
        parts = urlsplit("")
    if parts.scheme not in OBJECT_STORES or not parts.netloc:
        raise ValueError(f"must be {FOLDER_FORM}")
    if parts.password is not None or parts.query:
        raise ValueError(
            "contains a password or a query: the credentials of an object store stand in the "
            "variables that its client reads, such as AWS_ACCESS_KEY_ID"
        )
    return url.rstrip("/")


def is_local(address: str) -> bool:
    """Whether a folder is one of this machine, by its `folder_address`."""
    return address.startswith("/")

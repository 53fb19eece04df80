"""Databases for benchmarks: empty ones, and the real Moodle site's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from caliper_dagster_tests.harness import moodle_dump, servers


@contextmanager
def mariadb(url: str | None) -> Iterator[str]:
    """An empty MariaDB database, on the server of an administrator's URL or on one of our own."""
    if url is None:
        run = servers.begin_run()
        try:
            yield servers.connect("mariadb", run.folder).create_database()
        finally:
            run.end()
    else:
        server = servers.MariaDB(sa.make_url(url), "caliper_benchmark_")
        made = server.create_database()
        try:
            yield made
        finally:
            server.drop_database(made)


@contextmanager
def dump_database(url: str | None) -> Iterator[str]:
    """The real site's database: the one that is named, or the dump, loaded into a new server."""
    if url is not None:
        yield url
        return
    with mariadb(None) as made:
        moodle_dump.load_dump(made)
        yield made

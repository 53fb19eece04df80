"""Servers beside the databases: an object store, Redis, nginx and PgBouncer.

Each is a process of its own on a free port of loopback, which the kernel ends with the test run.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
import sqlalchemy as sa

from caliper_dagster_tests.harness.paths import ROOT
from caliper_dagster_tests.harness.ports import free_port
from caliper_dagster_tests.harness.servers import (
    START_SECONDS,
    UNPRIVILEGED_USER,
    ServerError,
    die_with_parent,
    find_program,
)


@dataclass(frozen=True)
class ObjectStore:
    """An S3-compatible store, and the environment in which AWS's own libraries find it."""

    endpoint: str

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "caliper-tests",
            "AWS_SECRET_ACCESS_KEY": "secret-of-the-object-store",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def create_bucket(self) -> str:
        """A new empty bucket; its URL for ``CALIPER_STORAGE``."""
        name = f"caliper-{secrets.token_hex(5)}"
        requests.put(f"{self.endpoint}/{name}", timeout=60).raise_for_status()
        return f"s3://{name}/partitions"


@contextmanager
def object_store(folder: Path) -> Iterator[ObjectStore]:
    """An S3-compatible store, which keeps what it has in memory."""
    port = free_port()
    command = [sys.executable, "-m", f"{__package__}.s3_server", str(port)]
    with _running(command, port, folder / "object_store.log"):
        yield ObjectStore(f"http://127.0.0.1:{port}")


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """A Redis that keeps what it has in memory; its URL.

    Raises:
        ServerError: it is not installed, or does not start.
    """
    program, port = find_program("redis-server"), free_port()
    if not program:
        raise ServerError("no redis-server found (Debian package redis-server)")
    settings = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    with _running([str(program), *settings], port, folder / "redis.log"):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def nginx(folder: Path, configuration: str, port: int) -> Iterator[None]:
    """An nginx that serves a configuration of its ``http`` block on a port of loopback.

    Raises:
        ServerError: it is not installed, or does not start, for example because the configuration
            is wrong.
    """
    program = find_program("nginx")
    if not program:
        raise ServerError("no nginx found (Debian package nginx)")
    # As root its workers would run as another account, which cannot read the test's folder.
    user = "user root;\n" if os.geteuid() == 0 else ""
    temporary = "".join(
        f"    {kind}_temp_path {folder / kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = folder / "nginx.conf"
    main.write_text(
        f"{user}daemon off;\nmaster_process off;\npid {folder / 'nginx.pid'};\n"
        f"error_log stderr;\nevents {{}}\nhttp {{\n    access_log off;\n{temporary}"
        f"{configuration}\n}}\n",
        encoding="utf-8",
    )
    command = [str(program), "-c", str(main), "-p", str(folder), "-e", "stderr"]
    with _running(command, port, folder / "nginx.log"):
        yield


@contextmanager
def pgbouncer(folder: Path, url: str) -> Iterator[str]:
    """A PgBouncer that gives one connection of the server to all clients, by transactions.

    Args:
        folder: an empty folder in which any account finds its way.
        url: SQLAlchemy URL of a database; the pool's connection logs in with this account, whatever
            a client says.

    Yields:
        the URL of the same database through the pool.

    Raises:
        ServerError: it is not installed, or does not start.
    """
    program, port, target = find_program("pgbouncer"), free_port(), sa.make_url(url)
    if not program:
        raise ServerError("no pgbouncer found (Debian package pgbouncer)")
    configuration = folder / "pgbouncer.ini"
    configuration.touch(0o600)
    configuration.write_text(
        f"[databases]\n{target.database} = host={target.host} port={target.port} "
        f"user={target.username} password={target.password}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        "auth_type = any\npool_mode = transaction\ndefault_pool_size = 1\n",
        encoding="utf-8",
    )
    command = [str(program), str(configuration)]
    if os.geteuid() == 0:
        # It refuses to run as root.
        shutil.chown(configuration, UNPRIVILEGED_USER)
        command.insert(1, f"--user={UNPRIVILEGED_USER}")
    with _running(command, port, folder / "pgbouncer.log"):
        yield target.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)


@contextmanager
def _running(command: Sequence[str], port: int, log: Path) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            preexec_fn=die_with_parent,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"{command[0]} does not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0

"""Private MariaDB and PostgreSQL servers for the tests.

``python -m caliper_dagster_tests.harness.servers ensure`` makes sure that the programs are there:
it installs Debian's packages where it may, and otherwise says what is missing. The tests only start
servers, each at its first use, once for a whole test run also when several processes share it.

A server named by ``CALIPER_TEST_MARIADB_URL`` or ``CALIPER_TEST_POSTGRES_URL`` (SQLAlchemy URL of
an account that may create databases and accounts) is used instead of a private one.

Who stops what: the process that runs pytest holds a lock on the file ``alive`` in the run's folder
(``begin_run``). Each server has a keeper, a process of its own session, that waits for this lock.
The kernel releases the lock however pytest ends, then the keeper stops its server and removes what
is left of it. Should a keeper be killed, the kernel ends its server (Linux only).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar

import sqlalchemy as sa

from caliper_dagster_tests.harness.paths import ROOT
from caliper_dagster_tests.harness.ports import free_port

START_SECONDS = 90
STOP_SECONDS = 20
UNPRIVILEGED_USER = "nobody"


class ServerError(Exception):
    """What is missing, or why a server did not start, in a sentence or two."""


# --- Programs and packages ----------------------------------------------------------------------


def find_program(*names: str, folders: Sequence[Path] = ()) -> Path | None:
    """The first of the programs that is installed, also where PATH does not look."""
    search = [*map(str, folders), os.environ.get("PATH", os.defpath), "/usr/local/sbin:/usr/sbin"]
    for name in names:
        if found := shutil.which(name, path=os.pathsep.join(search)):
            return Path(found)
    return None


def find_mariadb() -> tuple[Path, Path] | None:
    """``mariadb-install-db`` and ``mariadbd``."""
    install, daemon = find_program("mariadb-install-db"), find_program("mariadbd")
    return (install, daemon) if install and daemon else None


def find_postgres() -> tuple[Path, Path] | None:
    """``initdb`` and ``postgres`` of the newest version; Debian keeps them off PATH."""
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    folders = sorted(debian, key=lambda folder: float(folder.parent.name), reverse=True)
    initdb = find_program("initdb", folders=folders)
    postgres = find_program("postgres", folders=[initdb.parent] if initdb else [])
    return (initdb, postgres) if initdb and postgres else None


def find_chromium() -> tuple[Path, Path] | None:
    """Chromium (or Chrome) and its driver."""
    browser = find_program("chromium", "chromium-browser", "google-chrome")
    driver = find_program("chromedriver")
    return (browser, driver) if browser and driver else None


def missing_packages() -> list[str]:
    """Debian packages that would bring what neither an installation nor a variable offers."""
    wanted = {
        "mariadb-server": os.environ.get(MariaDB.variable) or find_mariadb(),
        "postgresql": os.environ.get(Postgres.variable) or find_postgres(),
        "chromium": find_chromium(),
        "chromium-driver": find_chromium(),
        "redis-server": find_program("redis-server"),
        "nginx": find_program("nginx"),
        "pgbouncer": find_program("pgbouncer"),
    }
    return [package for package, found in wanted.items() if not found]


def ensure() -> None:
    """Install what the tests need, where that is possible.

    Raises:
        ServerError: something is missing and cannot be installed.
    """
    packages = missing_packages()
    if not packages:
        return
    if os.geteuid() != 0 or not find_program("apt-get"):
        raise ServerError(
            f"The tests need the Debian packages {', '.join(packages)} or the same programs from "
            "elsewhere, and may not install them here (no root, or no apt-get). A database server "
            f"can also be named by {MariaDB.variable} or {Postgres.variable}."
        )
    sys.stdout.write(f"Installing Debian packages for the tests: {' '.join(packages)}\n")
    sys.stdout.flush()
    with _no_services():
        _apt_get("update")
        _apt_get("install", "--yes", "--no-install-recommends", *packages)
    if still := missing_packages():
        raise ServerError(f"apt-get succeeded, but these are not to be found: {', '.join(still)}.")


def _apt_get(*arguments: str) -> None:
    done = subprocess.run(
        ["apt-get", "-qq", *arguments],
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ServerError(f"apt-get {' '.join(arguments)} failed:\n{done.stdout[-2000:]}")


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Keep Debian from starting the servers that it installs."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


# --- What a test sees of a server ---------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """A running server and an account that may create databases in it."""

    url: sa.URL
    prefix: str

    kind: ClassVar[str]
    variable: ClassVar[str]

    def execute(self, *statements: str) -> None:
        """Run statements as the administrator, each for itself."""
        with self._administrator() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def create_database(self) -> str:
        """A new empty database; the SQLAlchemy URL of its owner."""
        name = f"{self.prefix}{secrets.token_hex(5)}"
        self.execute(self._create(name))
        return self.url.set(database=name).render_as_string(hide_password=False)

    def create_reader(self, database_url: str) -> str:
        """An account that may only SELECT, in all tables that the database now has; its URL."""
        url = sa.make_url(database_url)
        reader = url.set(username=url.database, password=secrets.token_hex(12))
        self._grant(reader)
        return reader.render_as_string(hide_password=False)

    def drop_database(self, database_url: str) -> None:
        """Drop a database with whoever is connected, and its reader."""
        self._drop(str(sa.make_url(database_url).database))

    def drop_all(self) -> None:
        """Drop every database of this test run."""
        with self._administrator() as connection:
            names = connection.exec_driver_sql(self._databases()).scalars().all()
        for name in names:
            if name.startswith(self.prefix):
                self._drop(name)

    @contextlib.contextmanager
    def _administrator(self, database: str | None = None) -> Iterator[sa.Connection]:
        url = self.url.set(database=database) if database else self.url
        engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            yield connection

    def _create(self, name: str) -> str:
        raise NotImplementedError

    def _databases(self) -> str:
        raise NotImplementedError

    def _grant(self, reader: sa.URL) -> None:
        raise NotImplementedError

    def _drop(self, name: str) -> None:
        raise NotImplementedError


class MariaDB(Server):
    """MariaDB, with databases as Moodle wants them."""

    kind = "mariadb"
    variable = "CALIPER_TEST_MARIADB_URL"

    def _create(self, name: str) -> str:
        return f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"

    def _databases(self) -> str:
        return "SHOW DATABASES"

    def _grant(self, reader: sa.URL) -> None:
        account = f"'{reader.username}'@'%%'"
        self.execute(
            f"CREATE USER {account} IDENTIFIED BY '{reader.password}'",
            f"GRANT SELECT ON {reader.database}.* TO {account}",
        )

    def _drop(self, name: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {name}", f"DROP USER IF EXISTS '{name}'@'%%'")


class Postgres(Server):
    """PostgreSQL."""

    kind = "postgres"
    variable = "CALIPER_TEST_POSTGRES_URL"

    def _create(self, name: str) -> str:
        return f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'"

    def _databases(self) -> str:
        return "SELECT datname FROM pg_database"

    def _grant(self, reader: sa.URL) -> None:
        with self._administrator(reader.database) as connection:
            for statement in (
                f"CREATE ROLE {reader.username} LOGIN PASSWORD '{reader.password}'",
                f"GRANT USAGE ON SCHEMA public TO {reader.username}",
                f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader.username}",
            ):
                connection.exec_driver_sql(statement)

    def _drop(self, name: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"DROP ROLE IF EXISTS {name}")


SERVERS: Mapping[str, type[Server]] = {kind.kind: kind for kind in (MariaDB, Postgres)}


# --- A test run ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One run of pytest: the folder that its processes share, and the lock that keeps it alive."""

    folder: Path
    lock: IO[str]

    def end(self) -> None:
        """Let the keepers stop their servers, and wait until they have."""
        self.lock.close()
        deadline = time.monotonic() + STOP_SECONDS
        while _server_folders(self.folder) and time.monotonic() < deadline:
            time.sleep(0.05)
        shutil.rmtree(self.folder, ignore_errors=True)


def begin_run() -> Run:
    """Make the folder of a test run. The calling process must live as long as the run."""
    folder = Path(tempfile.mkdtemp(prefix="caliper-tests-"))
    folder.chmod(0o711)
    lock = (folder / "alive").open("w")
    # A lock of lockf belongs to this process alone: no forked or started process prolongs it.
    fcntl.lockf(lock, fcntl.LOCK_EX)
    return Run(folder, lock)


def _server_folders(folder: Path) -> list[Path]:
    return [path for kind in SERVERS if (path := folder / kind).exists()]


@contextlib.contextmanager
def exclusive(folder: Path, name: str) -> Iterator[None]:
    """Let one process of the test run at a time do the named piece of work."""
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


_keepers: list[subprocess.Popen[bytes]] = []


def connect(kind: str, folder: Path) -> Server:
    """The test run's server of this kind; the first process that asks starts it.

    Raises:
        ServerError: there is none, and it says why.
    """
    home = folder / kind
    report = home / "report.json"
    with exclusive(folder, kind):
        if not home.exists():
            home.mkdir()
            # The server's account must pass, also where new files are for their owner only.
            home.chmod(0o711)
            keeper = _start_keeper(kind, folder)
            _keepers.append(keeper)
            while not report.exists() and keeper.poll() is None:
                time.sleep(0.05)
    if not report.exists():
        log = home / "keeper.log"
        raise ServerError(f"The keeper of {kind} failed:\n{log.read_text()[-2000:]}")
    answer = json.loads(report.read_text())
    if "error" in answer:
        raise ServerError(answer["error"])
    return SERVERS[kind](sa.make_url(answer["url"]), answer["prefix"])


def _start_keeper(kind: str, folder: Path) -> subprocess.Popen[bytes]:
    with (folder / kind / "keeper.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", __spec__.name, "keep", kind, str(folder)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            umask=0o022,
        )


# --- The keeper of one server -------------------------------------------------------------------


def keep(kind: str, folder: Path) -> None:
    """Start a server (or reach the given one), say where it is, and end with the test run."""
    home = folder / kind
    given = os.environ.get(SERVERS[kind].variable)
    prefix = f"caliper_test_{secrets.token_hex(3)}_"
    process = None
    server = None
    try:
        if given:
            server = SERVERS[kind](sa.make_url(given), prefix)
            _wait_until_ready(server, None, home)
        else:
            process, url = _START[kind](home)
            server = SERVERS[kind](url, prefix)
            _wait_until_ready(server, process, home)
    except (ServerError, OSError, sa.exc.SQLAlchemyError) as error:
        _report(home, {"error": f"{kind}: {error}"})
    else:
        _report(home, {"url": server.url.render_as_string(hide_password=False), "prefix": prefix})
    _wait_for_end(folder)
    if given and server:
        server.drop_all()
    if process:
        process.kill() if kind == "mariadb" else process.send_signal(signal.SIGQUIT)
        process.wait(STOP_SECONDS)
    shutil.rmtree(home, ignore_errors=True)
    if not _server_folders(folder):
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for_end(folder: Path) -> None:
    with (folder / "alive").open() as lock:
        fcntl.lockf(lock, fcntl.LOCK_SH)


def _report(home: Path, answer: Mapping[str, str]) -> None:
    draft = home / "report.draft"
    draft.touch(0o600)
    draft.write_text(json.dumps(answer))
    draft.rename(home / "report.json")


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes] | None, home: Path) -> None:
    deadline = time.monotonic() + (START_SECONDS if process else 10)
    while True:
        try:
            server.execute("SELECT 1")
        except sa.exc.OperationalError as error:
            if process and process.poll() is not None:
                raise ServerError(f"the server ended at once:\n{_end_of_log(home)}") from None
            if time.monotonic() > deadline:
                raise ServerError(f"no answer: {error.orig}\n{_end_of_log(home)}") from None
            time.sleep(0.1)
        else:
            return


def _start_mariadb(
    home: Path, tls: Certificate | None = None
) -> tuple[subprocess.Popen[bytes], sa.URL]:
    programs = find_mariadb()
    if not programs:
        raise ServerError(
            f"no mariadbd and mariadb-install-db found (Debian package mariadb-server), and "
            f"{MariaDB.variable} is not set"
        )
    install, daemon = programs
    data = _data_folder(home)
    socket_file = data / "mariadb.sock"
    url = sa.URL.create("mysql+pymysql", "caliper", secrets.token_hex(12), "127.0.0.1", free_port())
    init = data.parent / "init.sql"
    init.write_text(
        f"CREATE USER '{url.username}'@'%' IDENTIFIED BY '{url.password}';\n"
        f"GRANT ALL ON *.* TO '{url.username}'@'%' WITH GRANT OPTION;\n"
    )
    _give_to_server(init)
    # In a folder that it shares, a server removes the temporary tables of others when it starts.
    temporary = f"--tmpdir={data.parent}"
    common = ["--no-defaults", f"--datadir={data}", temporary, "--innodb-use-native-aio=0"]
    _run([install, *common, "--auth-root-authentication-method=normal", "--skip-test-db"], home)
    return _spawn(
        [
            daemon,
            *common,
            f"--socket={socket_file}",
            f"--pid-file={data / 'mariadb.pid'}",
            f"--port={url.port}",
            f"--init-file={init}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            # Since 11.4 a server makes itself a certificate; the tests look into what is sent.
            *(tls.mariadb_options() if tls else ["--skip-ssl"]),
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_unicode_ci",
            "--innodb-buffer-pool-size=256M",
            # The data need not outlive the test run: nothing waits for the disk.
            "--loose-innodb-flush-method=nosync",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=0",
            "--skip-sync-frm",
            "--max-allowed-packet=64M",
        ],
        home,
        signal.SIGKILL,
    ), url


def _start_postgres(
    home: Path, tls: Certificate | None = None
) -> tuple[subprocess.Popen[bytes], sa.URL]:
    programs = find_postgres()
    if not programs:
        raise ServerError(
            f"no initdb and postgres found (Debian package postgresql), and {Postgres.variable} "
            "is not set"
        )
    initdb, postgres = programs
    data = _data_folder(home)
    url = sa.URL.create(
        "postgresql+psycopg2",
        "caliper",
        secrets.token_hex(12),
        "127.0.0.1",
        free_port(),
        "postgres",
    )
    password_file = data.parent / "password"
    password_file.write_text(str(url.password))
    _give_to_server(password_file)
    _run(
        [
            initdb,
            f"--pgdata={data}",
            f"--username={url.username}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ],
        home,
    )
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(url.port),
        "unix_socket_directories": "",
        "max_connections": "200",
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        **(tls.postgres_settings(data) if tls else {}),
    }
    settings = [part for item in options.items() for part in ("-c", "=".join(item))]
    return _spawn([postgres, "-D", data, *settings], home, signal.SIGQUIT), url


_START = {"mariadb": _start_mariadb, "postgres": _start_postgres}


@dataclass(frozen=True)
class Certificate:
    """A certificate of a server on loopback, which is its own certificate authority.

    Attributes:
        file: the certificate (PEM).
        key: its key (PEM), which the account of a server may read.
    """

    file: Path
    key: Path

    @classmethod
    def create(cls, folder: Path) -> Certificate:
        """Make a certificate in a folder."""
        made = cls(folder / "certificate.pem", folder / "key.pem")
        command = (
            "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 "
            f"-addext subjectAltName=IP:127.0.0.1 -keyout {made.key} -out {made.file}"
        )
        subprocess.run(command.split(), check=True, capture_output=True)
        made.file.chmod(0o644)
        _give_to_server(made.key)
        return made

    def mariadb_options(self) -> list[str]:
        """Options of a server that accepts nothing but TLS."""
        return [
            f"--ssl-cert={self.file}",
            f"--ssl-key={self.key}",
            "--require-secure-transport=ON",
        ]

    def postgres_settings(self, data: Path) -> dict[str, str]:
        """The same for PostgreSQL, whose data folder says so, too."""
        (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
        return {"ssl": "on", "ssl_cert_file": str(self.file), "ssl_key_file": str(self.key)}


@contextlib.contextmanager
def tls_server(kind: str, home: Path) -> Iterator[tuple[Server, Certificate]]:
    """A server of its own that accepts nothing but TLS, and its certificate.

    Args:
        kind: of the server.
        home: an empty folder that its account may enter.
    """
    certificate = Certificate.create(home)
    process, url = _START[kind](home, certificate)
    server = SERVERS[kind](url, f"tls_{secrets.token_hex(3)}_")
    try:
        _wait_until_ready(server, process, home)
        yield server, certificate
    finally:
        process.kill() if kind == "mariadb" else process.send_signal(signal.SIGQUIT)
        process.wait(STOP_SECONDS)


def _data_folder(home: Path) -> Path:
    """An empty folder of the account that will run the server: neither server runs as root."""
    data = home / "server" / "data"
    data.mkdir(parents=True)
    for folder in (data.parent, data):
        _give_to_server(folder)
    return data


def _give_to_server(path: Path) -> None:
    """Let the account that runs the server read a file or folder, and nobody else.

    What the umask of the test run leaves to others does not matter then.
    """
    path.chmod(0o700 if path.is_dir() else 0o600)
    if os.geteuid() == 0:
        shutil.chown(path, UNPRIVILEGED_USER)


def _account() -> tuple[str, str, list[str]] | tuple[None, None, None]:
    """User, group and further groups of a server, which must not run as root."""
    return (UNPRIVILEGED_USER, "nogroup", []) if os.geteuid() == 0 else (None, None, None)


def _run(command: Sequence[str | Path], home: Path) -> None:
    done = _spawn(command, home, signal.SIGKILL).wait(START_SECONDS)
    if done:
        raise ServerError(f"{Path(command[0]).name} failed:\n{_end_of_log(home)}")


def _spawn(
    command: Sequence[str | Path], home: Path, at_parents_death: signal.Signals
) -> subprocess.Popen[bytes]:
    user, group, extra_groups = _account()
    with (home / "server.log").open("ab") as log:
        return subprocess.Popen(
            [str(part) for part in command],
            cwd=home / "server",
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=lambda: die_with_parent(at_parents_death),
            user=user,
            group=group,
            extra_groups=extra_groups,
        )


def die_with_parent(signal_number: signal.Signals = signal.SIGTERM) -> None:
    """Between fork and exec: have the kernel signal this process when its parent dies."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, int(signal_number))


def _end_of_log(home: Path) -> str:
    log = home / "server.log"
    return log.read_text(errors="replace")[-2000:] if log.exists() else ""


def main(arguments: Sequence[str]) -> int:
    """``ensure``, or ``keep KIND FOLDER`` (which the tests start themselves)."""
    match arguments:
        case ["ensure"]:
            try:
                ensure()
            except ServerError as error:
                sys.stderr.write(f"{error}\n")
                return 1
        case ["keep", kind, folder]:
            keep(kind, Path(folder))
        case _:
            sys.stderr.write("usage: python -m caliper_dagster_tests.harness.servers ensure\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""PostgreSQL, MariaDB and Redis, each with an empty data folder of its own."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pymysql
from pymysql.constants import CR

from tests.services.programs import (
    free_port,
    private_folder,
    require_program,
    run_program,
    running_server,
)

PASSWORD = "for-tests-only"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Postgres:
    """A running PostgreSQL; ``user`` is its superuser."""

    port: int
    host: str = "127.0.0.1"
    user: str = "postgres"
    password: str = field(default=PASSWORD, repr=False)

    def url(self, database: str = "postgres", driver: str = "") -> str:
        """The DSN as a URL; ``driver="psycopg"`` makes it SQLAlchemy's ``postgresql+psycopg://…``."""
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        return f"{scheme}://{self.user}:{self.password}@{self.host}:{self.port}/{database}"

    @property
    def dsn(self) -> str:
        return self.url()

    def new_database(self) -> str:
        """Create an empty database, and return its name."""
        name = f"test_{next(_numbers)}"
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return name


@dataclass(frozen=True)
class MariaDb:
    """A running MariaDB; ``user`` may do everything."""

    port: int
    host: str = "127.0.0.1"
    user: str = "tester"
    password: str = field(default=PASSWORD, repr=False)

    def url(self, database: str = "mysql", driver: str = "pymysql") -> str:
        """The URL for SQLAlchemy."""
        return f"mysql+{driver}://{self.user}:{self.password}@{self.host}:{self.port}/{database}"

    def connect(self, database: str | None = None) -> pymysql.Connection:
        return pymysql.connect(
            host=self.host, port=self.port, user=self.user, password=self.password, database=database
        )

    def new_database(self) -> str:
        """Create an empty database, and return its name."""
        name = f"test_{next(_numbers)}"
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        return name


@dataclass(frozen=True)
class Redis:
    """A running Redis."""

    port: int
    host: str = "127.0.0.1"

    def url(self, database: int = 0) -> str:
        return f"redis://{self.host}:{self.port}/{database}"


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    programs = Path(require_program("postgres", "/usr/lib/postgresql/*/bin/postgres")).parent
    with private_folder("postgres", "postgres") as folder:
        password_file = folder / "password"
        password_file.write_text(PASSWORD)
        password_file.chmod(0o644)
        data = folder / "data"
        initdb = [programs / "initdb", "--pgdata", data, "--username=postgres", "--auth=scram-sha-256"]
        initdb += [f"--pwfile={password_file}", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        run_program(initdb, user="postgres", cwd=folder)
        server = Postgres(free_port())
        settings = {
            "listen_addresses": server.host,
            "port": server.port,
            "unix_socket_directories": folder,
            "max_connections": 200,
            # Nothing of it is kept.
            "fsync": "off",
        }
        command = [programs / "postgres", "-D", data]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

        def is_ready() -> bool:
            try:
                psycopg.connect(server.dsn, connect_timeout=5).close()
            except psycopg.OperationalError:
                return False
            return True

        # SIGINT ends sessions that are open, SIGTERM would wait for them.
        with running_server(command, is_ready, folder / "log", user="postgres", stop_signal=signal.SIGINT):
            yield server


@contextmanager
def running_mariadb() -> Iterator[MariaDb]:
    program = require_program("mariadbd", "/usr/sbin/mariadbd")
    with private_folder("mariadb", "mysql") as folder:
        data = folder / "data"
        common = ["--no-defaults", f"--datadir={data}"]
        install = [require_program("mariadb-install-db"), *common, "--auth-root-authentication-method=normal"]
        run_program([*install, "--skip-test-db", f"--tmpdir={folder}"], user="mysql", cwd=folder)
        server = MariaDb(free_port())
        start = folder / "start.sql"
        start.write_text(
            f"CREATE USER '{server.user}'@'%' IDENTIFIED BY '{server.password}';\n"
            f"GRANT ALL ON *.* TO '{server.user}'@'%' WITH GRANT OPTION;"
        )
        start.chmod(0o644)
        command = [program, *common, f"--bind-address={server.host}", f"--port={server.port}", f"--tmpdir={folder}"]
        command += [f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}", f"--init-file={start}"]

        def is_ready() -> bool:
            try:
                server.connect().close()
            except pymysql.OperationalError as error:
                if error.args[0] != CR.CR_CONN_HOST_ERROR:
                    raise
                return False
            return True

        with running_server(command, is_ready, folder / "log", user="mysql"):
            yield server


@contextmanager
def running_redis() -> Iterator[Redis]:
    import redis

    program = require_program("redis-server", "/usr/bin/redis-server")
    with private_folder("redis", None) as folder:
        server = Redis(free_port())
        command = [program, "--bind", server.host, "--port", str(server.port), "--dir", str(folder)]
        command += ["--save", "", "--appendonly", "no"]

        def is_ready() -> bool:
            with redis.Redis(server.host, server.port, socket_connect_timeout=5) as client:
                try:
                    return bool(client.ping())
                except redis.ConnectionError:
                    return False

        with running_server(command, is_ready, folder / "log"):
            yield server

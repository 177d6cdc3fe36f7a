"""A PostgreSQL of one's own: the oracle. TEST_POSTGRES_URL names another to use instead of starting one."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from weir_server import free_port

#: Of tests; a peer that is measured says what it wants.
SETTINGS = {"fsync": "off", "max_connections": "200", "shared_buffers": "512MB", "work_mem": "256MB"}


class PostgresServer:
    def __init__(self, settings: dict[str, str] | None = None) -> None:
        self.given = os.environ.get("TEST_POSTGRES_URL")
        self.settings = SETTINGS | (settings or {})
        self.port = free_port()
        self.folder: Path | None = None

    def __enter__(self) -> "PostgresServer":
        if not self.given:
            self.folder = Path(tempfile.mkdtemp(prefix="weir-postgres-"))
            self._as_server("initdb", "-D", str(self._data), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C")
            with open(self._data / "postgresql.conf", "a") as conf:
                conf.write(f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n")
                conf.writelines(f"{name} = {value}\n" for name, value in self.settings.items())
            self._as_server("pg_ctl", "-D", str(self._data), "-l", str(self._data / "log"), "-w", "start")
        return self

    def __exit__(self, *_: object) -> None:
        if self.folder:
            self._as_server("pg_ctl", "-D", str(self._data), "-m", "immediate", "stop")
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _data(self) -> Path:
        assert self.folder
        return self.folder / "data"

    def _as_server(self, program: str, *arguments: str) -> None:
        """Runs a server program; PostgreSQL refuses to run as root, so root becomes `postgres` or `nobody`."""
        user = None
        if os.geteuid() == 0:
            user = next(name for name in ("postgres", "nobody") if _exists(name))
            assert self.folder
            shutil.chown(self.folder, user)
        subprocess.run([program, *arguments], check=True, user=user, cwd="/", stdout=subprocess.DEVNULL)

    @property
    def url(self) -> str:
        return self.given or f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def connect(self) -> psycopg.Connection:
        for attempt in range(50):
            try:
                return psycopg.connect(self.url, autocommit=True)
            except psycopg.OperationalError:
                if attempt == 49:
                    raise
                time.sleep(0.1)
        raise AssertionError


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
        return True
    except KeyError:
        return False

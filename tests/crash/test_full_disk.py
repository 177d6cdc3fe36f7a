"""A disk that fills up while clients write: they are refused, nothing acknowledged is lost, and with room again everything
goes on without a restart."""

import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest
from weir_server import WeirServer

DISK_BYTES = 600 << 20
STORE_FULL = "53100"
#: No record, no answer: where only the outcome found no room, the row may be there, unacknowledged.
JOURNAL_FULL = "58030"


@pytest.fixture
def disk():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder], check=True)
        yield Path(folder)
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk):
    """Takes all room that is left."""
    with open(disk / "filler", "wb", buffering=0) as filler:
        piece = 1 << 20
        while piece:
            try:
                filler.write(bytes(piece))
            except OSError:
                piece //= 2


def insert(connection, number, size):
    """None once the row is acknowledged, else the SQLSTATE."""
    try:
        connection.execute("INSERT INTO notes VALUES (%s, %s)", (number, "x" * size))
        return None
    except psycopg.Error as error:
        assert error.sqlstate in (STORE_FULL, JOURNAL_FULL), error
        assert error.diag.message_hint and "code=" in error.diag.message_detail
        return error.sqlstate


def numbers_of(url):
    with psycopg.connect(url) as reader:
        return [number for (number,) in reader.execute("SELECT number FROM notes ORDER BY number")]


def until(what, seconds=30):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)


def check(url, acknowledged, unknown):
    found = numbers_of(url)
    assert len(found) == len(set(found)) and acknowledged <= set(found) <= acknowledged | unknown


def test_a_full_disk_is_waited_out(disk):
    settings = {"WEIR_RESOURCE_GOVERNOR_ENABLED": "false", "WEIR_FLUSH_INTERVAL_SECS": "1"}
    with WeirServer(demo=True, data=disk / "data", settings=settings) as weir:
        url = weir.urls["ADMIN"]
        acknowledged, unknown, number = set(), set(), 0
        with psycopg.connect(url, autocommit=True) as writer:
            writer.execute("CREATE TABLE notes (number bigint PRIMARY KEY, note text)")
            for size in (10, 3_000, 200_000):
                fill(disk)
                refused = 0
                deadline = time.monotonic() + 120
                while refused < 20:
                    assert time.monotonic() < deadline, "the disk never filled"
                    number += 1
                    sqlstate = insert(writer, number, size)
                    refused += sqlstate is not None
                    {None: acknowledged, JOURNAL_FULL: unknown}.get(sqlstate, set()).add(number)
                assert weir.process.poll() is None
                (disk / "filler").unlink()
                until(lambda: weir.answers("/readyz"))
                number += 1
                assert insert(writer, number, size) is None, "room again, and still refused"
                acknowledged.add(number)
                check(url, acknowledged, unknown)
        weir.kill()
        weir.start()
        check(url, acknowledged, unknown)
        assert weir.stop() == 0
        verified = weir.run("audit", "verify", str(weir.data), check=False)
        assert verified.returncode == 0, verified.stdout

"""Whoever waits for a client waits within bounds, and keeps nothing from others meanwhile."""

import resource
import time

import psycopg
import pytest
from test_wire import logged_in, message, read_until
from weir_server import WeirServer

SETTINGS = {
    "WEIR_MAX_CONCURRENT_QUERIES": "1",
    "WEIR_TRANSACTION_IDLE_TIMEOUT_SECS": "2",
    "WEIR_CONNECTIONS_IDLE_TIMEOUT_SECS": "3",
    "WEIR_AUDIT_DURABILITY": "strict",
}


@pytest.fixture(scope="module")
def strict():
    with WeirServer(demo=True, scale=0.001, settings=SETTINGS) as server:
        yield server


def execute(name, limit):
    return message(b"E", name + b"\0" + limit.to_bytes(4))


def test_a_suspended_portal_gives_its_slot_to_others(strict):
    with logged_in(strict) as suspended:
        parse = message(b"P", b"\0SELECT o_orderkey FROM orders\0\0\0")
        bind = message(b"B", b"\0\0\0\0\0\0\0\0")
        suspended.sendall(message(b"Q", b"BEGIN\0"))
        read_until(suspended, b"Z")
        suspended.sendall(parse + bind + execute(b"", 3) + message(b"S", b""))
        assert [kind for kind, _ in read_until(suspended, b"Z")].count(b"D") == 3
        with psycopg.connect(strict.urls["ADMIN"], autocommit=True) as other:
            other.execute("SET statement_timeout = '5s'")
            assert other.execute("SELECT count(*) FROM region").fetchone() == (5,)
        # It goes on where it stopped.
        suspended.sendall(execute(b"", 2) + message(b"S", b""))
        assert [kind for kind, _ in read_until(suspended, b"Z")] == [b"D", b"D", b"s", b"Z"]


def test_a_copy_that_waits_notices_its_timeout(strict):
    with psycopg.connect(strict.urls["ADMIN"], autocommit=True) as admin:
        admin.execute("CREATE TABLE IF NOT EXISTS waited (a int)")
        admin.execute("SET statement_timeout = '300ms'")
        began = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled), admin.cursor().copy("COPY waited FROM STDIN") as copy:
            time.sleep(1)
            copy.write(b"1\n")
        assert time.monotonic() - began < 2
        admin.execute("RESET statement_timeout")
        assert admin.execute("SELECT count(*) FROM waited").fetchone() == (0,)


def answer_while_silent(connection):
    began = time.monotonic()
    kinds = read_until(connection, b"E")
    return kinds[-1][1], time.monotonic() - began


def test_silent_clients_are_given_up(strict):
    with logged_in(strict) as in_transaction, logged_in(strict) as in_copy:
        in_transaction.sendall(message(b"Q", b"BEGIN\0"))
        read_until(in_transaction, b"Z")
        in_copy.sendall(message(b"Q", b"CREATE TABLE IF NOT EXISTS waited (a int); COPY waited FROM STDIN\0"))
        read_until(in_copy, b"G")
        error, waited = answer_while_silent(in_transaction)
        assert b"C25P03" in error and 1 < waited < 4, (error, waited)
        error, waited = answer_while_silent(in_copy)
        assert b"C57P05" in error and waited < 5, (error, waited)


def test_a_session_sets_its_own_patience(strict):
    with psycopg.connect(strict.urls["ADMIN"]) as session:
        session.execute("SET idle_in_transaction_session_timeout = 0")
        time.sleep(2.5)
        assert session.execute("SELECT 1").fetchone() == (1,)


def test_a_strict_journal_serves_many_at_once(strict):
    """The slots are few here, the disk is waited for, and still everybody is answered, each with its record."""
    before = strict.metric("weir_audit_records_total")
    connections = [psycopg.connect(strict.urls["ADMIN"], autocommit=True) for _ in range(8)]
    for _ in range(10):
        for connection in connections:
            assert connection.execute("SELECT r_name FROM region WHERE r_regionkey = 1").fetchone() == ("AMERICA",)
    for connection in connections:
        connection.close()
    assert strict.metric("weir_audit_records_total") - before >= 80


def test_the_limit_of_open_files_is_raised():
    """A server that is started with a low soft limit takes what the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    try:
        with WeirServer() as server:
            assert resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

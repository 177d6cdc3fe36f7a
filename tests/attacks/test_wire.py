"""Hostile clients: an error or a closed connection for them, nothing for anybody else."""

import random
import socket
import struct
import time

import psycopg
import pytest

SEED = 20261120


def raw(weir, timeout=10):
    return socket.create_connection(("127.0.0.1", weir.sql_port), timeout=timeout)


def startup(user="admin", database="acme"):
    body = struct.pack("!I", 196608) + b"".join(word.encode() + b"\0" for word in ("user", user, "database", database)) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


def logged_in(weir):
    """A raw socket after authentication."""
    key = weir.urls["ADMIN"].split(":")[2].rsplit("@", 1)[0]
    connection = raw(weir)
    connection.sendall(startup())
    connection.recv(9)
    connection.sendall(message(b"p", key.encode() + b"\0"))
    read_until(connection, b"Z")
    return connection


def read_until(connection, kind):
    """Reads whole messages up to one of the kind; returns all kinds seen."""
    seen = []
    buffer = b""
    while True:
        while len(buffer) < 5:
            buffer += receive(connection)
        length = struct.unpack("!I", buffer[1:5])[0] + 1
        while len(buffer) < length:
            buffer += receive(connection)
        seen.append((buffer[:1], buffer[5:length]))
        buffer = buffer[length:]
        if seen[-1][0] == kind:
            return seen


def receive(connection):
    more = connection.recv(65536)
    if not more:
        raise ConnectionError("closed")
    return more


@pytest.fixture(autouse=True)
def survives(weir):
    """After each attack the server is up, answers, and has not grown beyond bounds."""
    yield
    with psycopg.connect(weir.urls["ADMIN"]) as admin:
        assert admin.execute("SELECT 1").fetchone() == (1,)
    assert weir.process.poll() is None
    assert weir.resident_bytes() < 2 << 30


def drain(connection):
    """Reads until the server closes."""
    try:
        while connection.recv(65536):
            pass
    except OSError:
        pass


def test_random_bytes(weir):
    dice = random.Random(SEED)
    for _ in range(300):
        with raw(weir) as connection:
            try:
                connection.sendall(dice.randbytes(dice.randrange(1, 4000)))
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                continue
            drain(connection)


def test_random_bytes_after_login(weir):
    dice = random.Random(SEED + 1)
    for _ in range(50):
        with logged_in(weir) as connection:
            try:
                connection.sendall(dice.randbytes(dice.randrange(1, 4000)))
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                continue
            drain(connection)


@pytest.mark.parametrize("length", [0, 3, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 20_000])
def test_claimed_lengths(weir, length):
    before = weir.resident_bytes()
    with raw(weir) as connection:
        connection.sendall(struct.pack("!I", length) + b"x" * 100)
        connection.settimeout(1)
        drain(connection)
    for kind in (b"Q", b"P", b"B", b"d", b"p"):
        with logged_in(weir) as connection:
            connection.sendall(kind + struct.pack("!I", length) + b"x" * 100)
            connection.settimeout(1)
            drain(connection)
    assert weir.resident_bytes() - before < 200 << 20


def test_http_on_the_sql_port(weir):
    with raw(weir) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        drain(connection)


def test_half_messages(weir):
    whole = startup()
    for cut in range(len(whole)):
        with raw(weir) as connection:
            connection.sendall(whole[:cut])


def test_ssl_and_gss_requests_without_end(weir):
    with raw(weir) as connection:
        connection.settimeout(5)
        try:
            for _ in range(1000):
                connection.sendall(struct.pack("!II", 8, 80877104))
                if connection.recv(1) not in (b"N",):
                    break
            else:
                pytest.fail("a thousand requests were answered")
        except OSError:
            pass


def test_function_call_and_replication(weir):
    with logged_in(weir) as connection:
        connection.sendall(message(b"F", b"\0" * 20))
        kinds = [kind for kind, _ in read_until(connection, b"E")]
        assert kinds[-1] == b"E"
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(weir.urls["ADMIN"] + "?replication=database")


def test_many_parameters(weir, agent):
    admin = agent("ADMIN")
    values = list(range(65_535))
    text = "SELECT 1 WHERE 1 IN (" + ",".join(["%s"] * len(values)) + ")"
    try:
        assert admin.execute(text, values).fetchall() == [(1,)]
    except psycopg.Error as error:
        assert error.sqlstate in ("54000", "54001", "53200"), error


def test_negative_field_length(weir):
    with logged_in(weir) as connection:
        connection.sendall(message(b"P", b"\0SELECT $1::text\0" + struct.pack("!H", 0)))
        body = b"\0\0" + struct.pack("!H", 0) + struct.pack("!H", 1) + struct.pack("!i", -2) + struct.pack("!H", 0)
        connection.sendall(message(b"B", body) + message(b"S", b""))
        assert b"E" in [kind for kind, _ in read_until(connection, b"E")]


DEEP = {
    "parentheses": "SELECT " + "(" * 1_000_000 + "1" + ")" * 1_000_000,
    "not": "SELECT " + "NOT " * 500_000 + "true",
    "sum": "SELECT 1" + "+1" * 500_000,
    "case": "SELECT " + "CASE WHEN true THEN " * 100_000 + "1" + " END" * 100_000,
    "subqueries": "SELECT * FROM " + "(SELECT * FROM " * 10_000 + "region" + ") q" * 10_000,
    "arrays": "SELECT " + "ARRAY[" * 100_000 + "1" + "]" * 100_000,
    "literals": "SELECT " + ",".join(["1"] * 10_000_000),
    "string": "SELECT length('" + "x" * 50_000_000 + "')",
    "unions": " UNION ALL ".join(["SELECT 1"] * 20_000),
    "joins": "SELECT 1 FROM region r0 " + " ".join(f"JOIN region r{i} ON true" for i in range(1, 5_000)),
    "comment": "SELECT 1 " + "/*" * 100_000 + "*/" * 100_000,
    "ands": "SELECT 1 WHERE " + " AND ".join(["1 = 1"] * 500),
    "list": "SELECT 1 WHERE 1 IN (" + ",".join(map(str, range(10_000))) + ")",
}


@pytest.mark.parametrize("name", DEEP)
def test_monstrous_texts(agent, name):
    connection = agent("ADMIN")
    connection.execute("SET statement_timeout = '20s'")
    try:
        connection.execute(DEEP[name]).fetchall()
    except psycopg.OperationalError as error:
        assert error.sqlstate, f"the connection broke: {error}"
    except psycopg.Error as error:
        assert error.sqlstate in ("54000", "54001", "42601", "53200", "57014", "0A000"), (error.sqlstate, str(error)[:200])
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_invalid_utf8(weir):
    with logged_in(weir) as connection:
        connection.sendall(message(b"Q", b"SELECT '\xff\xfe'\0"))
        seen = read_until(connection, b"Z")
        assert any(kind == b"E" and b"22021" in body for kind, body in seen)


def test_five_hundred_idle_connections(weir):
    idle = []
    try:
        for _ in range(600):
            try:
                idle.append(raw(weir))
            except OSError:
                break
        time.sleep(0.5)
    finally:
        for connection in idle:
            connection.close()
    time.sleep(0.5)


def test_slow_sender(weir):
    with raw(weir) as slow:
        for byte in startup()[:20]:
            slow.sendall(bytes([byte]))
            time.sleep(0.02)
            break
        with psycopg.connect(weir.urls["ADMIN"]) as other:
            assert other.execute("SELECT 1").fetchone() == (1,)

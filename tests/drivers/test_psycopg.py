"""psycopg 3 with every demo agent: text and binary, prepared, server-side cursors, cancel, typed errors."""

import datetime
import decimal
import threading
import time
import uuid

import psycopg
import pytest
from psycopg import sql
from psycopg.types import TypeInfo
from psycopg.types.range import RangeInfo

AGENTS = ["ANALYST_EU", "ANALYST_US", "SUPPORT", "ADMIN"]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("name", AGENTS)
def test_types(agent, name, binary):
    row = agent(name).execute(
        """SELECT true, 1::smallint, 2, 3::bigint, 1.5::real, 2.5::double precision, 12.34::numeric(10,2), 'text', 'é€𝄞',
                  date '2026-11-20', timestamp '2026-11-20 01:02:03.000004', timestamptz '2026-11-20 01:02:03+00',
                  NULL, interval '1 month 2 days 3 seconds', time '04:05:06'""",
        binary=binary,
    ).fetchone()
    utc = datetime.timezone.utc
    assert row[:6] == (True, 1, 2, 3, 1.5, 2.5)
    assert row[6] == decimal.Decimal("12.34") and row[7:9] == ("text", "é€𝄞")
    assert row[9] == datetime.date(2026, 11, 20)
    assert row[10] == datetime.datetime(2026, 11, 20, 1, 2, 3, 4)
    assert row[11].astimezone(utc) == datetime.datetime(2026, 11, 20, 1, 2, 3, tzinfo=utc)
    assert row[12] is None and row[13] == datetime.timedelta(days=32, seconds=3) and row[14] == datetime.time(4, 5, 6)


@pytest.mark.parametrize("name", AGENTS)
def test_prepared_with_parameters(agent, name):
    connection = agent(name)
    for key in (0, 1, 2, 3):
        rows = connection.cursor().execute("SELECT r_regionkey, r_name FROM region WHERE r_regionkey = %s", (key,), prepare=True).fetchall()
        assert all(row[0] == key for row in rows) and len(rows) <= 1


PARAMETERS = {
    "boolean": True,
    "smallint": -7,
    "integer": 70_000,
    "bigint": 1 << 40,
    "double precision": -0.1,
    "numeric(20,5)": decimal.Decimal("-12345.67891"),
    "text": "it's \\ \n \t é",
    "bytea": b"\x00\xff'\\",
    "date": datetime.date(1969, 12, 31),
    "timestamp": datetime.datetime(2000, 2, 29, 23, 59, 59, 999999),
    "time": datetime.time(23, 59, 59, 999999),
}


@pytest.mark.parametrize("form", ["t", "b"])
@pytest.mark.parametrize("kind", PARAMETERS)
def test_parameters_round_trip(agent, kind, form):
    value = PARAMETERS[kind]
    admin = agent("ADMIN")
    admin.execute(sql.SQL("CREATE TABLE round_trip (id int PRIMARY KEY, v {})").format(sql.SQL(kind)))
    try:
        admin.execute(f"INSERT INTO round_trip VALUES (1, %{form}), (2, NULL)", (value,))
        for binary in (False, True):
            assert admin.execute("SELECT v FROM round_trip ORDER BY id", binary=binary).fetchall() == [(value,), (None,)]
        assert admin.execute(f"SELECT id FROM round_trip WHERE v = %{form}", (value,)).fetchall() == [(1,)]
    finally:
        admin.execute("DROP TABLE round_trip")


ARRAYS = {
    "boolean": [True, False],
    "smallint": [1, -2],
    "integer": [1, 70_000],
    "bigint": [1 << 40, 0],
    "double precision": [0.5, -0.1],
    "numeric": [decimal.Decimal("1.50"), decimal.Decimal("-2")],
    "text": ["a b", "", "null", "NULL", "{x,\"y\\}", "\u00a0", "é"],
    "bytea": [b"\x00\xff", b""],
    "date": [datetime.date(1969, 12, 31)],
    "timestamp": [datetime.datetime(2000, 2, 29, 23, 59, 59, 999999)],
    "time": [datetime.time(23, 59, 59)],
    "interval": [datetime.timedelta(days=3, seconds=5)],
    "uuid": [uuid.UUID("2b8f0dd5-3d3c-4c68-9d45-0f0a3f2ab0c1")],
}


@pytest.mark.parametrize("form", ["t", "b"])
@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_round_trip(agent, kind, form):
    admin = agent("ADMIN")
    values = [*ARRAYS[kind], None]
    for binary in (False, True):
        assert admin.execute(f"SELECT %{form}::{kind}[]", (values,), binary=binary).fetchone() == (values,)
        assert admin.execute(f"SELECT %{form}::{kind}[]", ([],), binary=binary).fetchone() == ([],)
    if kind != "numeric":
        one = ARRAYS[kind][0]
        assert admin.execute(f"SELECT %{form}::{kind} = ANY(%{form}::{kind}[])", (one, values)).fetchone() == (True,)


@pytest.mark.parametrize("name", ["SUPPORT", "ADMIN"])
def test_lists_of_keys(agent, name):
    rows = agent(name).execute("SELECT r_regionkey FROM region WHERE r_regionkey = ANY(%s) ORDER BY 1", ([3, 1, 99],)).fetchall()
    assert rows == [(1,), (3,)]
    rows = agent(name).execute("SELECT r_name FROM region WHERE r_name <> ALL(%s) ORDER BY 1", (["AFRICA", "ASIA"],)).fetchall()
    assert rows == [("AMERICA",), ("EUROPE",), ("MIDDLE EAST",)]
    assert agent(name).execute("SELECT array_agg(r_name ORDER BY r_name) FROM region WHERE r_regionkey < 2").fetchone() == (["AFRICA", "AMERICA"],)


def test_arrays_have_no_columns(agent):
    admin = agent("ADMIN")
    for statement in ("CREATE TABLE arrays (a int[])", "CREATE TABLE arrays AS SELECT array_agg(r_name) AS a FROM region"):
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            admin.execute(statement)


def test_a_begin_takes_what_came_before_it(agent):
    admin = agent("ADMIN")
    admin.execute("CREATE TABLE begun (id int PRIMARY KEY)")
    try:
        # In one text, and in one pipeline.
        admin.execute("INSERT INTO begun VALUES (1); BEGIN; INSERT INTO begun VALUES (2); ROLLBACK")
        assert admin.execute("SELECT count(*) FROM begun").fetchone() == (0,)
        with admin.pipeline():
            admin.execute("INSERT INTO begun VALUES (3)")
            admin.execute("BEGIN")
            admin.execute("INSERT INTO begun VALUES (4)")
        assert admin.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
        admin.execute("ROLLBACK")
        assert admin.execute("SELECT count(*) FROM begun").fetchone() == (0,)
        admin.execute("BEGIN; INSERT INTO begun VALUES (5); COMMIT; INSERT INTO begun VALUES (6); INSERT INTO begun VALUES (7)")
        assert admin.execute("SELECT count(*) FROM begun").fetchone() == (3,)
        with pytest.raises(psycopg.errors.UniqueViolation):
            admin.execute("INSERT INTO begun VALUES (8); COMMIT; INSERT INTO begun VALUES (9); INSERT INTO begun VALUES (5)")
        assert admin.execute("SELECT id FROM begun WHERE id > 7").fetchall() == [(8,)]
    finally:
        admin.execute("ROLLBACK")
        admin.execute("DROP TABLE begun")


def test_a_million_rows_by_cursor(agent):
    admin = agent("ADMIN")
    with admin.transaction(), admin.cursor(name="big") as cursor:
        cursor.itersize = 10_000
        cursor.execute("SELECT a.value FROM generate_series(1, 1000) AS a(value), generate_series(1, 1000) AS b(value)")
        assert sum(1 for _ in cursor) == 1_000_000


def test_a_million_rows_streamed(agent):
    cursor = agent("ADMIN").cursor()
    rows = cursor.stream("SELECT a.value FROM generate_series(1, 1000) AS a(value), generate_series(1, 1000) AS b(value)")
    assert sum(1 for _ in rows) == 1_000_000


def test_cancel_in_the_middle_of_a_stream(agent):
    connection = agent("ADMIN")
    sent = {}

    def cancel():
        time.sleep(0.5)
        sent["at"] = time.monotonic()
        connection.cancel_safe()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(psycopg.errors.QueryCanceled) as refusal:
        connection.execute("SELECT count(*) FROM lineitem a, lineitem b, lineitem c WHERE a.l_comment > b.l_comment || c.l_comment")
    ended = time.monotonic()
    thread.join()
    assert refusal.value.sqlstate == "57014"
    assert ended - sent["at"] < 2.0, "far more than the promise, which the bench measures"
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_statement_timeout(agent):
    connection = agent("ADMIN")
    connection.execute("SET statement_timeout = '300ms'")
    with pytest.raises(psycopg.errors.QueryCanceled) as refusal:
        connection.execute("SELECT count(*) FROM lineitem a, lineitem b, lineitem c WHERE a.l_comment > b.l_comment || c.l_comment")
    assert "statement timeout" in str(refusal.value)
    connection.execute("RESET statement_timeout")
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_types_are_looked_up(agent):
    admin = agent("ADMIN")
    assert TypeInfo.fetch(admin, "numeric").oid == 1700
    for unknown in ("hstore", "public.nothing", '"No Such Type"'):
        assert TypeInfo.fetch(admin, unknown) is None
        assert RangeInfo.fetch(admin, unknown) is None
    assert admin.execute("SELECT 1").fetchone() == (1,)


def test_typed_errors(agent):
    admin = agent("ADMIN")
    cases = {
        "SELECT * FROM nothing": psycopg.errors.UndefinedTable,
        "SELECT nothing FROM region": psycopg.errors.UndefinedColumn,
        "SELEC": psycopg.errors.SyntaxError,
        "SELECT 1/0": psycopg.errors.DivisionByZero,
        "SELECT 'x'::int": psycopg.errors.InvalidTextRepresentation,
        "INSERT INTO region VALUES (0, 'AFRICA', '')": psycopg.errors.UniqueViolation,
        "INSERT INTO region VALUES (NULL, 'X', '')": psycopg.errors.NotNullViolation,
        "CREATE TABLE region (a int)": psycopg.errors.DuplicateTable,
        "SELECT (SELECT n_nationkey FROM nation)": psycopg.errors.CardinalityViolation,
    }
    for statement, expected in cases.items():
        with pytest.raises(expected):
            admin.execute(statement)


def test_transactions(agent):
    one, two = agent("ADMIN"), agent("ADMIN")
    one.execute("CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL)")
    try:
        one.execute("INSERT INTO accounts VALUES (1, 10), (2, 20)")
        with one.transaction():
            one.execute("UPDATE accounts SET balance = balance - 5 WHERE id = 1")
            assert one.execute("SELECT balance FROM accounts WHERE id = 1").fetchone() == (5,)
            assert two.execute("SELECT balance FROM accounts WHERE id = 1").fetchone() == (10,)
        assert two.execute("SELECT balance FROM accounts WHERE id = 1").fetchone() == (5,)
        # A transaction finds its own rows by key, new, changed and gone.
        with one.transaction(force_rollback=True):
            one.execute("INSERT INTO accounts VALUES (3, 30)")
            for change, changed in [("id = 4, balance = 31", 1), ("balance = 32", 0)]:
                assert one.execute(f"UPDATE accounts SET {change} WHERE id = 3").rowcount == changed
            assert one.execute("UPDATE accounts SET balance = balance + 1 WHERE id = %s", (4,)).rowcount == 1
            assert one.execute("SELECT balance FROM accounts WHERE id = %s", (4,)).fetchone() == (32,)
            assert one.execute("DELETE FROM accounts WHERE id IN (4, 1)").rowcount == 2
            assert one.execute("DELETE FROM accounts WHERE id = 4").rowcount == 0
            assert one.execute("SELECT balance FROM accounts WHERE id = %s", (1,)).fetchone() is None
        with pytest.raises(ZeroDivisionError), one.transaction():
            one.execute("DELETE FROM accounts")
            raise ZeroDivisionError
        assert two.execute("SELECT count(*) FROM accounts").fetchone() == (2,)
        one.execute("BEGIN")
        two.execute("BEGIN")
        one.execute("UPDATE accounts SET balance = 1 WHERE id = 2")
        two.execute("UPDATE accounts SET balance = 2 WHERE id = 2")
        one.execute("COMMIT")
        with pytest.raises(psycopg.errors.SerializationFailure):
            two.execute("COMMIT")
        two.execute("BEGIN")
        with pytest.raises(psycopg.Error):
            two.execute("SELECT nothing")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            two.execute("SELECT 1")
        two.execute("ROLLBACK")
        assert one.execute("SELECT id, balance FROM accounts ORDER BY id").fetchall() == [(1, 5), (2, 1)]
    finally:
        one.execute("DROP TABLE accounts")


def test_row_counts_and_copy(agent):
    admin = agent("ADMIN")
    admin.execute("CREATE TABLE notes (id int PRIMARY KEY, v text DEFAULT 'none')")
    try:
        with admin.cursor().copy("COPY notes FROM STDIN") as copy:
            for number in range(1000):
                copy.write_row((number, f"tab\t line\n backslash\\ {number}" if number % 3 else None))
        assert admin.execute("SELECT count(*), count(v) FROM notes").fetchone() == (1000, 666)
        assert admin.execute("UPDATE notes SET v = 'x' WHERE id < 10").rowcount == 10
        assert admin.execute("DELETE FROM notes WHERE id >= 990").rowcount == 10
        assert admin.execute("INSERT INTO notes (id) VALUES (2000), (2001)").rowcount == 2
        assert admin.execute("SELECT v FROM notes WHERE id = 2000").fetchone() == ("none",)
        with pytest.raises(psycopg.errors.InvalidTextRepresentation) as refusal:
            with admin.cursor().copy("COPY notes FROM STDIN (FORMAT csv)") as copy:
                copy.write(b"5000,a\nnot a number,b\n")
        assert "line 2" in refusal.value.diag.context
        assert admin.execute("SELECT count(*) FROM notes WHERE id = 5000").fetchone() == (0,)
    finally:
        admin.execute("DROP TABLE notes")


def test_pipeline(agent):
    connection = agent("ADMIN")
    with connection.pipeline():
        cursors = [connection.execute("SELECT %s::int + 1", (number,)) for number in range(50)]
    assert [cursor.fetchone()[0] for cursor in cursors] == list(range(1, 51))


def test_wrong_passwords_are_all_alike(weir):
    url = weir.urls["ADMIN"]
    host = url.rsplit("@", 1)[1]
    key = url.split(":")[2].rsplit("@", 1)[0]
    wrong = ["nonsense", "", key[:-1], key.replace("weir_", "weir-")]
    messages = set()
    for user, password, place in [*(("admin", word, host) for word in wrong), ("nobody", key, host), ("admin", key, host.replace("acme", "other"))]:
        with pytest.raises(psycopg.OperationalError) as refusal:
            psycopg.connect(f"postgres://{user}:{password}@{place}")
        messages.add(str(refusal.value).replace(user, "USER").replace("other", "acme"))
    assert len({message.split("FATAL:")[-1].strip() for message in messages}) <= 2, messages


def test_lists_find_no_hidden_rows(agent):
    """A desk sees its own region's rows, whichever keys it lists."""
    seen = [agent(name).execute("SELECT r_regionkey FROM region WHERE r_regionkey = ANY(%s)", ([0, 1, 2, 3, 4],)).fetchall() for name in AGENTS[:2]]
    own = [agent(name).execute("SELECT r_regionkey FROM region").fetchall() for name in AGENTS[:2]]
    assert [sorted(rows) for rows in seen] == [sorted(rows) for rows in own] and seen[0] != seen[1]

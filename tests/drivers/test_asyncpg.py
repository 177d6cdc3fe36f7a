"""asyncpg: everything binary and prepared, types asked for by introspection, cursors, COPY, cancel, typed errors."""

import asyncio
import datetime
import decimal
import uuid

import asyncpg
import pytest

UTC = datetime.timezone.utc


@pytest.fixture
def run(weir):
    """Runs `conversation(connection)`, an agent's."""

    def runner(conversation, agent="ADMIN"):
        async def whole():
            connection = await asyncpg.connect(weir.urls[agent], timeout=20, command_timeout=60)
            try:
                return await conversation(connection)
            finally:
                await connection.close(timeout=10)

        return asyncio.run(whole())

    return runner


VALUES = {
    "boolean": True,
    "smallint": -7,
    "integer": 70_000,
    "bigint": 1 << 40,
    "real": 1.5,
    "double precision": -0.1,
    "numeric(20,5)": decimal.Decimal("-12345.67891"),
    "text": "it's \\ \n \t é\u00a0",
    "varchar(20)": "twenty",
    "bytea": b"\x00\xff'\\",
    "date": datetime.date(1969, 12, 31),
    "timestamp": datetime.datetime(2000, 2, 29, 23, 59, 59, 999999),
    "timestamptz": datetime.datetime(2026, 11, 20, 1, 2, 3, 4, tzinfo=UTC),
    "time": datetime.time(23, 59, 59, 999999),
    "interval": datetime.timedelta(days=3, seconds=5, microseconds=6),
    "uuid": uuid.UUID("2b8f0dd5-3d3c-4c68-9d45-0f0a3f2ab0c1"),
    "json": '{"a": [1, 2]}',
}


@pytest.mark.parametrize("kind", VALUES)
def test_values_of_every_type(run, kind):
    value = VALUES[kind]

    async def conversation(connection):
        await connection.execute(f"CREATE TABLE apg (id int PRIMARY KEY, v {kind})")
        try:
            await connection.execute("INSERT INTO apg VALUES (1, $1), (2, NULL)", value)
            rows = await connection.fetch("SELECT v FROM apg ORDER BY id")
            assert [row["v"] for row in rows] == [value, None]
            if kind != "json":
                assert await connection.fetchval("SELECT id FROM apg WHERE v = $1", value) == 1
                assert await connection.fetchval("SELECT id FROM apg WHERE v = ANY($1)", [value, None]) == 1
                assert await connection.fetchval("SELECT id FROM apg WHERE v = ANY($1)", []) is None
            element = kind.split("(")[0]
            array = await connection.fetchval(f"SELECT $1::{element}[]", [value, None])
            assert array == [value, None]
            assert await connection.fetchval("SELECT array_agg(v) FROM (SELECT v FROM apg ORDER BY id) AS s") == [value, None]
        finally:
            await connection.execute("DROP TABLE apg")

    run(conversation)


@pytest.mark.parametrize("agent", ["SUPPORT", "ADMIN"])
def test_an_agent_reads_by_key_and_by_keys(run, agent):
    async def conversation(connection):
        statement = await connection.prepare("SELECT r_regionkey, r_name FROM region WHERE r_regionkey = $1")
        for key in range(5):
            assert all(row[0] == key for row in await statement.fetch(key))
        rows = await connection.fetch("SELECT r_regionkey FROM region WHERE r_regionkey = ANY($1::bigint[]) ORDER BY 1", [3, 1, 99])
        assert [row[0] for row in rows] == [1, 3]
        rows = await connection.fetch("SELECT r_regionkey FROM region WHERE r_regionkey <> ALL($1) ORDER BY 1", [3, 1])
        assert [row[0] for row in rows] == [0, 2, 4]
        names = await connection.fetchval("SELECT array_agg(r_name ORDER BY r_regionkey) FROM region")
        assert names[:2] == ["AFRICA", "AMERICA"]

    run(conversation, agent)


def test_many_inserts(run):
    async def conversation(connection):
        await connection.execute("CREATE TABLE apg_many (id int PRIMARY KEY, v text)")
        try:
            await connection.executemany("INSERT INTO apg_many VALUES ($1, $2)", [(n, f"row {n}") for n in range(500)])
            assert await connection.fetchval("SELECT count(*) FROM apg_many") == 500
        finally:
            await connection.execute("DROP TABLE apg_many")

    run(conversation)


def test_a_million_rows_by_cursor(run):
    async def conversation(connection):
        rows = 0
        async with connection.transaction():
            query = "SELECT a.value FROM generate_series(1, 1000) AS a(value), generate_series(1, 1000) AS b(value)"
            async for _ in connection.cursor(query, prefetch=10_000):
                rows += 1
        assert rows == 1_000_000
        assert await connection.fetchval("SELECT 1") == 1

    run(conversation)


def test_transactions(run):
    async def conversation(connection):
        await connection.execute("CREATE TABLE apg_tx (id int PRIMARY KEY)")
        try:
            with pytest.raises(ZeroDivisionError):
                async with connection.transaction():
                    await connection.execute("INSERT INTO apg_tx VALUES (1)")
                    raise ZeroDivisionError
            assert await connection.fetchval("SELECT count(*) FROM apg_tx") == 0
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                    await connection.execute("INSERT INTO apg_tx VALUES (2)")
        finally:
            await connection.execute("DROP TABLE apg_tx")

    run(conversation)


def test_a_type_met_within_a_transaction(run):
    """The driver asks for what it does not know at once, and an error would be the end of the transaction."""

    async def conversation(connection):
        async with connection.transaction():
            assert await connection.fetchval("SELECT $1::bigint[]", [1, None]) == [1, None]
            assert await connection.fetchval("SELECT 1") == 1

    run(conversation)


def test_typed_errors(run):
    cases = {
        "SELECT * FROM nothing": asyncpg.UndefinedTableError,
        "SELECT nothing FROM region": asyncpg.UndefinedColumnError,
        "SELEC": asyncpg.PostgresSyntaxError,
        "SELECT 1/0": asyncpg.DivisionByZeroError,
        "SELECT current_setting('no_such')": asyncpg.UndefinedObjectError,
        "SELECT set_config('no_such', 'off', false)": asyncpg.UndefinedObjectError,
        "SELECT set_config('search_path', 'other', false)": asyncpg.FeatureNotSupportedError,
        "INSERT INTO region VALUES (0, 'AFRICA', '')": asyncpg.UniqueViolationError,
        "INSERT INTO region VALUES (NULL, 'X', '')": asyncpg.NotNullViolationError,
        "SELECT '{1,x}'::int[]": asyncpg.InvalidTextRepresentationError,
        "SELECT '{1'::int[]": asyncpg.InvalidTextRepresentationError,
    }

    async def conversation(connection):
        for statement, expected in cases.items():
            with pytest.raises(expected):
                await connection.fetch(statement)
        assert await connection.fetchval("SELECT 1") == 1

    run(conversation)


def test_cancel_by_timeout(run):
    async def conversation(connection):
        slow = "SELECT count(*) FROM lineitem a, lineitem b, lineitem c WHERE a.l_comment > b.l_comment || c.l_comment"
        with pytest.raises(asyncio.TimeoutError):
            await connection.fetch(slow, timeout=0.5)
        assert await connection.fetchval("SELECT 1") == 1

    run(conversation)


def test_a_pool(weir):
    async def whole():
        async with asyncpg.create_pool(weir.urls["ADMIN"], min_size=2, max_size=4) as pool:
            totals = await asyncio.gather(*(pool.fetchval("SELECT $1::int + 1", number) for number in range(50)))
            assert totals == list(range(1, 51))

    asyncio.run(whole())

"""Two analysts see disjoint rows whose union is the admin's, by whatever way rows can be asked for."""

import time
from collections import Counter

import psycopg
import pytest

TABLES = {
    "region": "r_regionkey",
    "nation": "n_nationkey",
    "supplier": "s_suppkey",
    "customer": "c_custkey",
    "part": "p_partkey",
    "partsupp": "ps_partkey, ps_suppkey",
    "orders": "o_orderkey",
    "lineitem": "l_orderkey, l_linenumber",
}

WAYS = {
    "select": "SELECT {key} FROM {table}",
    "alias": "SELECT {qualified} FROM {table} AS x",
    "subquery": "SELECT * FROM (SELECT {key} FROM {table}) AS q",
    "scalar subquery": "SELECT {key} FROM {table} WHERE (SELECT count(*) FROM {table}) > 0",
    "cte": "WITH {table} AS (SELECT * FROM {table}) SELECT {key} FROM {table}",
    "union all": "SELECT {key} FROM {table} WHERE 1 = 0 UNION ALL SELECT {key} FROM {table}",
    "intersect": "SELECT {key} FROM {table} INTERSECT SELECT {key} FROM {table}",
    "except": "SELECT {key} FROM {table} EXCEPT SELECT {key} FROM {table} WHERE 1 = 0",
    "self join": "SELECT {qualified} FROM {table} x JOIN {table} y USING ({key})",
    "in": "SELECT {qualified} FROM {table} x WHERE {first} IN (SELECT {first} FROM {table})",
    "exists": "SELECT {qualified} FROM {table} x WHERE EXISTS (SELECT 1 FROM {table} y WHERE y.{first} = x.{first})",
    "left join": "SELECT {qualified} FROM {table} x LEFT JOIN {table} y USING ({key})",
    "lateral": "SELECT {qualified} FROM {table} x, LATERAL (SELECT 1 AS one) l",
    "group by": "SELECT {key} FROM {table} GROUP BY {key}",
    "distinct": "SELECT DISTINCT {key} FROM {table}",
    "window": "SELECT {key} FROM (SELECT *, row_number() OVER () AS n FROM {table}) q",
    "order and limit": "SELECT {key} FROM {table} ORDER BY {key} LIMIT 1000000",
    "view": "SELECT {key} FROM views.all_{table}",
}


def rows(connection, sql, **options):
    return Counter(connection.execute(sql, **options).fetchall())


@pytest.fixture(scope="session", autouse=True)
def views(weir):
    """Views of every table, which a rule added to the running server's policy lets analysts read."""
    with psycopg.connect(weir.urls["ADMIN"], autocommit=True) as admin:
        admin.execute("CREATE SCHEMA views")
        for table in TABLES:
            admin.execute(f"CREATE VIEW views.all_{table} AS SELECT * FROM {table}")
    with open(weir.data / "policies" / "acme" / "access.cedar", "a") as rules:
        rules.write('\npermit (principal in Role::"analyst", action == Action::"select", resource in Schema::"views");\n')
    with psycopg.connect(weir.urls["ANALYST_EU"], autocommit=True) as analyst:
        for _ in range(40):
            try:
                analyst.execute("SELECT count(*) FROM views.all_region")
                return
            except psycopg.errors.UndefinedTable:
                time.sleep(0.05)
    pytest.fail("the added rule was not in force after two seconds")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("table", TABLES)
def test_disjoint_and_whole(agent, table, way):
    key = TABLES[table]
    columns = key.split(", ")
    sql = WAYS[way].format(
        table=table, key=key, first=columns[0], qualified=", ".join(f"x.{column}" for column in columns)
    )
    if way in ("self join", "left join"):
        sql = sql.replace(", ".join(f"x.{column}" for column in columns), key, 1)
    check(agent, sql)


def check(agent, sql):
    eu, us, everything = (rows(agent(name), sql) for name in ("ANALYST_EU", "ANALYST_US", "ADMIN"))
    assert eu and us, sql
    assert not eu & us, sql
    assert eu + us == everything, sql


@pytest.mark.parametrize("table", TABLES)
def test_prepared(agent, table):
    def prepared(connection):
        cursor = connection.cursor()
        return Counter(cursor.execute(f"SELECT {TABLES[table]} FROM {table}", prepare=True).fetchall())

    eu, us, everything = (prepared(agent(name)) for name in ("ANALYST_EU", "ANALYST_US", "ADMIN"))
    assert eu and us and not eu & us and eu + us == everything


@pytest.mark.parametrize("table", TABLES)
def test_copy(agent, table):
    def copied(connection):
        with connection.cursor().copy(f"COPY {table} TO STDOUT") as copy:
            return Counter(bytes(line) for block in copy for line in bytes(block).splitlines())

    eu, us, everything = (copied(agent(name)) for name in ("ANALYST_EU", "ANALYST_US", "ADMIN"))
    assert eu and us and not eu & us and eu + us == everything


@pytest.mark.parametrize("table", TABLES)
def test_cursor(agent, table):
    def fetched(connection):
        found = Counter()
        with connection.transaction(), connection.cursor(name="c") as cursor:
            cursor.execute(f"SELECT {TABLES[table]} FROM {table}")
            while batch := cursor.fetchmany(997):
                found.update(batch)
        return found

    eu, us, everything = (fetched(agent(name)) for name in ("ANALYST_EU", "ANALYST_US", "ADMIN"))
    assert eu and us and not eu & us and eu + us == everything


@pytest.mark.parametrize("table", TABLES)
def test_counts_come_from_visible_rows(agent, table):
    counts = [agent(name).execute(f"SELECT count(*) FROM {table}").fetchone()[0] for name in ("ANALYST_EU", "ANALYST_US", "ADMIN")]
    assert counts[0] + counts[1] == counts[2] and counts[0] < counts[2]
    first = TABLES[table].split(", ")[0]
    lowest = [agent(name).execute(f"SELECT min({first}), max({first}) FROM {table}").fetchone() for name in ("ANALYST_EU", "ANALYST_US", "ADMIN")]
    assert min(lowest[0][0], lowest[1][0]) == lowest[2][0] and max(lowest[0][1], lowest[1][1]) == lowest[2][1]
    assert lowest[0] != lowest[2] or lowest[1] != lowest[2]


def test_hidden_rows_raise_no_errors(agent):
    """A division that fails on a hidden row alone must not fail."""
    eu, us = agent("ANALYST_EU"), agent("ANALYST_US")
    hidden = us.execute("SELECT min(o_orderkey) FROM orders").fetchone()[0]
    assert eu.execute(f"SELECT count(*) FROM orders WHERE o_orderkey = {hidden}").fetchone()[0] == 0
    eu.execute(f"SELECT count(*) FROM orders WHERE 1 / (o_orderkey - {hidden}) >= -10").fetchone()
    eu.execute(f"SELECT sum(1 / (o_orderkey - {hidden})) FROM orders").fetchone()

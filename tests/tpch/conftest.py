"""TPC-H, loaded through Weir's own demo, then copied to the oracles from what the admin reads."""

import os
import re
from pathlib import Path

import duckdb
import psycopg
import pytest
from postgres_server import PostgresServer
from weir_server import WeirServer

ROOT = Path(__file__).resolve().parents[2]
TABLES = ["region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem"]
#: `make test` stays small; TEST_TPCH_SCALE=1 is the real thing.
SCALE = float(os.environ.get("TEST_TPCH_SCALE", "0.05"))


@pytest.fixture(scope="session")
def weir():
    with WeirServer(demo=True, scale=SCALE, settings={"WEIR_RESOURCE_GOVERNOR_ENABLED": "false"}) as server:
        yield server


@pytest.fixture(scope="session")
def data(weir, tmp_path_factory):
    """Each table as CSV, as COPY TO gives it to the admin."""
    folder = tmp_path_factory.mktemp("tpch")
    with psycopg.connect(weir.urls["ADMIN"]) as admin:
        for table in TABLES:
            with open(folder / f"{table}.csv", "wb") as file:
                with admin.cursor().copy(f"COPY {table} TO STDOUT WITH (FORMAT csv)") as copy:
                    for block in copy:
                        file.write(block)
    return folder


def definitions(weir):
    """CREATE TABLE statements from what the catalog says, so that all servers have the same types."""
    sql = """SELECT column_name, data_type, numeric_precision, numeric_scale FROM information_schema.columns
             WHERE table_schema = 'public' AND table_name = %s ORDER BY ordinal_position"""
    made = {}
    with psycopg.connect(weir.urls["ADMIN"]) as admin:
        for table in TABLES:
            columns = []
            for name, kind, precision, scale in admin.execute(sql, [table]):
                columns.append(f"{name} {kind}({precision},{scale})" if kind == "numeric" else f"{name} {kind}")
            assert columns, table
            made[table] = f"CREATE TABLE {table} ({', '.join(columns)})"
    return made


def filtered_views(main):
    """The analyst's row filters by hand: views of the same names in a schema of their own."""
    policies = (ROOT / "policies" / "demo" / "acme" / "row_filters.sql").read_text()
    found = re.findall(r"^CREATE POLICY emea_rows ON (\w+) FOR SELECT TO emea\s+USING \((.*)\);$", policies, re.MULTILINE)
    assert sorted(table for table, _ in found) == sorted(TABLES)
    yield "CREATE SCHEMA emea"
    for table, condition in found:
        yield f"CREATE VIEW emea.{table} AS SELECT * FROM {main}.{table} WHERE {condition}"


@pytest.fixture(scope="session")
def postgres(weir, data):
    with PostgresServer() as server, server.connect() as connection:
        for table, definition in definitions(weir).items():
            connection.execute(definition)
            with open(data / f"{table}.csv", "rb") as file, connection.cursor().copy(f"COPY {table} FROM STDIN WITH (FORMAT csv)") as copy:
                while block := file.read(1 << 20):
                    copy.write(block)
        keys = ["orders (o_orderkey)", "lineitem (l_orderkey)", "lineitem (l_partkey, l_suppkey)", "customer (c_custkey)", "part (p_partkey)", "supplier (s_suppkey)", "partsupp (ps_partkey, ps_suppkey)"]
        for key in keys:
            connection.execute(f"CREATE INDEX ON {key}")
        for view in filtered_views("public"):
            connection.execute(view)
        connection.execute("ANALYZE")
        yield connection


@pytest.fixture(scope="session")
def duck(weir, data):
    connection = duckdb.connect()
    for table, definition in definitions(weir).items():
        connection.execute(definition)
        connection.execute(f"COPY {table} FROM '{data / table}.csv' (FORMAT csv, HEADER false)")
    for view in filtered_views("main"):
        connection.execute(view)
    yield connection

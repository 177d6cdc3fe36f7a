"""COPY of lineitem from CSV, with its primary key, durable."""

import tempfile
import time

import duckdb
import peers
import psycopg


def run():
    file = peers.tpch_csv() / "lineitem.csv"
    definition = f"CREATE TABLE lineitem ({peers.TPCH['lineitem']})"
    with peers.weir() as weir, peers.postgres() as postgres, tempfile.TemporaryDirectory() as folder:
        duck = duckdb.connect(f"{folder}/duck.db")
        duck.execute("SET threads = 2")
        urls = {"Weir": weir.issue_key("bench", "plain"), "PostgreSQL": postgres.url}

        def server(url):
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("DROP TABLE IF EXISTS lineitem")
                connection.execute(definition)
            started = time.monotonic()
            peers.psql_copy(url, "lineitem", file)
            return time.monotonic() - started

        def embedded():
            duck.execute("DROP TABLE IF EXISTS lineitem")
            duck.execute(definition)
            started = time.monotonic()
            duck.execute(f"COPY lineitem FROM '{file}' (FORMAT csv, HEADER false)")
            duck.execute("CHECKPOINT")
            return time.monotonic() - started

        contenders = {name: lambda url=url: server(url) for name, url in urls.items()} | {"DuckDB": embedded}
        figures = {name: peers.median(times) for name, times in peers.interleaved(2, contenders).items()}
    row = [figures[name] for name in ("Weir", "PostgreSQL", "DuckDB")]
    row += [figures["PostgreSQL"] / figures["Weir"], figures["Weir"] / figures["DuckDB"]]
    head = ["Weir", "PostgreSQL", "DuckDB", "times PostgreSQL's speed", "times DuckDB's time"]
    return f"## COPY of lineitem at scale {peers.SCALE:g}, s\n\n" + peers.table(head, [row])

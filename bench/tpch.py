"""The 22 queries under row filters on orders and lineitem, beside DuckDB's native tables with the filters by hand."""

import math
import os
import time
from pathlib import Path

import duckdb
import peers
import psycopg

QUERIES = {path.stem: path.read_text() for path in sorted((Path(__file__).parent / "queries").glob("q*.sql"))}
RUNS = int(os.environ.get("BENCH_RUNS", "3"))

FILTERS = {
    "governed": ("o_orderkey >= 0 AND o_orderkey % 64 < 64", "l_orderkey >= 0 AND l_orderkey % 64 < 64"),
    "tenth": ("o_orderkey % 10 = 1", "l_orderkey % 10 = 1"),
}


def run():
    folder = peers.tpch_csv()
    with peers.weir() as weir:
        plain = weir.issue_key("bench", "plain")
        duck = duckdb.connect()
        duck.execute("SET threads = 2")
        with psycopg.connect(plain, autocommit=True) as admin:
            for table, columns in peers.TPCH.items():
                admin.execute(f"CREATE TABLE {table} ({columns})")
                peers.psql_copy(plain, table, folder / f"{table}.csv")
                duck.execute(f"CREATE TABLE {table} ({columns})")
                duck.execute(f"COPY {table} FROM '{folder / table}.csv' (FORMAT csv, HEADER false)")
            for name, (orders, lineitem) in FILTERS.items():
                duck.execute(f"CREATE SCHEMA {name}")
                duck.execute(f"CREATE VIEW {name}.orders AS SELECT * FROM main.orders WHERE {orders}")
                duck.execute(f"CREATE VIEW {name}.lineitem AS SELECT * FROM main.lineitem WHERE {lineitem}")
        text = "".join(section(weir, plain, duck, name) for name in FILTERS)
    return text


def section(weir, plain, duck, name):
    duck.execute(f"SET search_path = '{name}'")
    governed = psycopg.connect(weir.issue_key("bench", name), autocommit=True)
    by_hand = psycopg.connect(plain, autocommit=True)
    orders, lineitem = FILTERS[name]

    def manual(sql):
        """The same filters as WHERE, over tables that the plain agent reads whole."""
        ctes = f"orders AS (SELECT * FROM public.orders WHERE {orders}), lineitem AS (SELECT * FROM public.lineitem WHERE {lineitem})"
        return f"WITH {ctes}, {sql.lstrip()[5:]}" if sql.lstrip().lower().startswith("with ") else f"WITH {ctes} {sql}"

    def timed(work):
        started = time.perf_counter()
        work()
        return (time.perf_counter() - started) * 1000

    rows, ratios, costs = [], [], []
    for query, sql in QUERIES.items():
        contenders = {
            "Weir": lambda: timed(lambda: governed.execute(sql).fetchall()),
            "by hand": lambda: timed(lambda: by_hand.execute(manual(sql)).fetchall()),
            "DuckDB": lambda: timed(lambda: duck.execute(sql).fetchall()),
        }
        for measure in contenders.values():
            measure()
        figures = {who: peers.median(times) for who, times in peers.interleaved(RUNS, contenders).items()}
        ratios.append(figures["Weir"] / figures["DuckDB"])
        costs.append(figures["Weir"] / figures["by hand"])
        rows.append([query, figures["Weir"], figures["DuckDB"], ratios[-1], figures["by hand"], costs[-1]])
    mean = lambda values: math.exp(sum(map(math.log, values)) / len(values))
    sums = [sum(row[i] for row in rows) for i in (1, 2, 4)]
    rows.append(["sum", sums[0], sums[1], sums[0] / sums[1], sums[2], sums[0] / sums[2]])
    rows.append(["geometric mean", mean([r[1] for r in rows[:22]]), mean([r[2] for r in rows[:22]]), mean(ratios), mean([r[4] for r in rows[:22]]), mean(costs)])
    head = ["query", "Weir, ms", "DuckDB, ms", "ratio", "Weir, filters by hand, ms", "cost of governing"]
    return f"## The 22 TPC-H queries at scale {peers.SCALE:g}, filter `{name}`\n\n" + peers.table(head, rows) + "\n"

"""The servers that are measured, their data, and how a load is run."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import tempfile
from pathlib import Path

import psycopg
from postgres_server import PostgresServer
from weir_server import WeirServer

HERE = Path(__file__).resolve().parent
POLICIES = HERE / "policies"
SCALE = float(os.environ.get("BENCH_SCALE", "1"))
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "weir"

# All of it over loopback, without TLS: clients prefer it where it is offered, and only one of the two servers has it.
os.environ["PGSSLMODE"] = "disable"

#: As one would run it for such work, durable.
POSTGRES = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "2GB",
    "work_mem": "256MB",
    "maintenance_work_mem": "1GB",
    "max_parallel_workers_per_gather": "2",
    "max_wal_size": "8GB",
    "max_connections": "200",
}

TPCH = {
    "region": "r_regionkey integer PRIMARY KEY, r_name varchar(25) NOT NULL, r_comment varchar(152)",
    "nation": "n_nationkey integer PRIMARY KEY, n_name varchar(25) NOT NULL, n_regionkey integer NOT NULL, n_comment varchar(152)",
    "supplier": "s_suppkey bigint PRIMARY KEY, s_name varchar(25) NOT NULL, s_address varchar(40) NOT NULL, s_nationkey integer NOT NULL, s_phone varchar(15) NOT NULL, s_acctbal numeric(15,2) NOT NULL, s_comment varchar(101) NOT NULL",
    "customer": "c_custkey bigint PRIMARY KEY, c_name varchar(25) NOT NULL, c_address varchar(40) NOT NULL, c_nationkey integer NOT NULL, c_phone varchar(15) NOT NULL, c_acctbal numeric(15,2) NOT NULL, c_mktsegment varchar(10) NOT NULL, c_comment varchar(117) NOT NULL",
    "part": "p_partkey bigint PRIMARY KEY, p_name varchar(55) NOT NULL, p_mfgr varchar(25) NOT NULL, p_brand varchar(10) NOT NULL, p_type varchar(25) NOT NULL, p_size integer NOT NULL, p_container varchar(10) NOT NULL, p_retailprice numeric(15,2) NOT NULL, p_comment varchar(23) NOT NULL",
    "partsupp": "ps_partkey bigint NOT NULL, ps_suppkey bigint NOT NULL, ps_availqty integer NOT NULL, ps_supplycost numeric(15,2) NOT NULL, ps_comment varchar(199) NOT NULL, PRIMARY KEY (ps_partkey, ps_suppkey)",
    "orders": "o_orderkey bigint PRIMARY KEY, o_custkey bigint NOT NULL, o_orderstatus varchar(1) NOT NULL, o_totalprice numeric(15,2) NOT NULL, o_orderdate date NOT NULL, o_orderpriority varchar(15) NOT NULL, o_clerk varchar(15) NOT NULL, o_shippriority integer NOT NULL, o_comment varchar(79) NOT NULL",
    "lineitem": "l_orderkey bigint NOT NULL, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL, l_linenumber integer NOT NULL, l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, l_discount numeric(15,2) NOT NULL, l_tax numeric(15,2) NOT NULL, l_returnflag varchar(1) NOT NULL, l_linestatus varchar(1) NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL, l_shipinstruct varchar(25) NOT NULL, l_shipmode varchar(10) NOT NULL, l_comment varchar(44) NOT NULL, PRIMARY KEY (l_orderkey, l_linenumber)",
}


def weir(**settings: str) -> WeirServer:
    return WeirServer(policies=POLICIES, detached=True, settings={"WEIR_RESOURCE_GOVERNOR_ENABLED": "false"} | settings)


def postgres() -> PostgresServer:
    return PostgresServer(POSTGRES)


def tpch_csv() -> Path:
    """The eight tables as CSV at BENCH_SCALE, made once by the demo's generator and kept."""
    folder = CACHE / f"tpch-{SCALE:g}"
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        with WeirServer(demo=True, scale=SCALE) as server, psycopg.connect(server.urls["ADMIN"]) as admin:
            for table in TPCH:
                with open(folder / f"{table}.csv", "wb") as file, admin.cursor().copy(f"COPY {table} TO STDOUT (FORMAT csv)") as copy:
                    for block in copy:
                        file.write(block)
        (folder / "done").touch()
    return folder


def psql_copy(url: str, table: str, file: Path) -> None:
    command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", url, "-c", f"\\copy {table} FROM '{file}' WITH (FORMAT csv)"]
    subprocess.run(command, check=True)


def pgbench(url: str, script: str, clients: int, seconds: float) -> float:
    """Transactions a second of a script in the prepared protocol."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        command = ["pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", "1", "-T", str(int(seconds)), "-f", file.name, url]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return float(re.search(r"tps = ([\d.]+)", done.stdout)[1])


def interleaved(runs: int, contenders: dict) -> dict:
    """Each contender's figures, taken in turn. What one has left to the system to write is written before the next begins."""
    figures = {name: [] for name in contenders}
    for _ in range(runs):
        for name, measure in contenders.items():
            os.sync()
            figures[name].append(measure())
    return figures


def median(values) -> float:
    return statistics.median(values)


def table(head: list[str], rows: list[list]) -> str:
    def text(value):
        if isinstance(value, float):
            return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.3g}"
        return str(value)

    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(map(text, row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"

"""Durable single-row inserts, each its own transaction, beside PostgreSQL with fsync on."""

import os

import peers
import psycopg

SECONDS = float(os.environ.get("BENCH_SECONDS", "5"))
TABLE = "CREATE TABLE notes (id bigint PRIMARY KEY, client integer, note text)"
SCRIPT = "\\set id random(1, 9000000000000000000)\nINSERT INTO notes VALUES (:id, :client_id, 'a note of some length, as they are');\n"


def run():
    with peers.weir() as weir, peers.postgres() as postgres:
        urls = {"Weir": weir.issue_key("bench", "plain"), "PostgreSQL": postgres.url}
        for url in urls.values():
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(TABLE)
        lines = []
        for clients in (1, 8, 64):
            figures = peers.interleaved(5, {name: lambda url=url: peers.pgbench(url, SCRIPT, clients, SECONDS) for name, url in urls.items()})
            ratio = peers.median([a / b for a, b in zip(figures["Weir"], figures["PostgreSQL"])])
            lines.append([f"{clients} client{'s' * (clients > 1)}", peers.median(figures["Weir"]), peers.median(figures["PostgreSQL"]), ratio])
    return "## Durable single-row inserts (a second)\n\n" + peers.table(["", "Weir", "PostgreSQL", "ratio"], lines)

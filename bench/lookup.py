"""Prepared key look-ups in two million rows under a row filter, beside PostgreSQL under the same policy."""

import os

import peers
import psycopg

ROWS = int(os.environ.get("BENCH_LOOKUP_ROWS", "2000000"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "5"))
TABLE = "CREATE TABLE accounts (id bigint PRIMARY KEY, tenant integer NOT NULL, balance bigint NOT NULL, note text)"
SCRIPT = f"\\set id random(1, {ROWS})\nSELECT id, balance, note FROM accounts WHERE id = :id;\n"


def rows():
    for first in range(1, ROWS + 1, 10_000):
        yield "".join(f"{i}\t{i % 100}\t{i * 7}\tnote {i}\n" for i in range(first, min(first + 10_000, ROWS + 1)))


def fill(url):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLE)
        with connection.cursor().copy("COPY accounts FROM STDIN") as copy:
            for block in rows():
                copy.write(block)


def run():
    with peers.weir() as weir, peers.postgres() as postgres:
        fill(weir.issue_key("bench", "plain"))
        fill(postgres.url)
        with postgres.connect() as admin:
            admin.execute("ANALYZE accounts")
            admin.execute("CREATE ROLE governed LOGIN")
            admin.execute("GRANT SELECT ON accounts TO governed")
            admin.execute("ALTER TABLE accounts ENABLE ROW LEVEL SECURITY")
            admin.execute("CREATE POLICY tenant ON accounts FOR SELECT TO governed USING (tenant < 100)")
        urls = {"Weir": weir.issue_key("bench", "governed"), "PostgreSQL": postgres.url.replace("postgres@", "governed@")}
        lines = []
        for clients in (1, 8):
            figures = peers.interleaved(7, {name: lambda url=url: peers.pgbench(url, SCRIPT, clients, SECONDS) for name, url in urls.items()})
            ratio = peers.median([a / b for a, b in zip(figures["Weir"], figures["PostgreSQL"])])
            lines.append([f"{clients} client{'s' * (clients > 1)}", peers.median(figures["Weir"]), peers.median(figures["PostgreSQL"]), ratio])
    return f"## Prepared key look-ups, {ROWS:,} rows, row filter (a second)\n\n" + peers.table(["", "Weir", "PostgreSQL", "ratio"], lines)

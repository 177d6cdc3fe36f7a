"""Cold start to the first governed row, and idle memory, without demo data."""

import time

import peers
import psycopg


def run():
    times, memory = [], []
    for _ in range(5):
        with peers.weir() as server:
            url = server.issue_key("bench", "plain")
            with psycopg.connect(url, autocommit=True) as admin:
                admin.execute("CREATE TABLE accounts (id bigint PRIMARY KEY, tenant int)")
                admin.execute("INSERT INTO accounts VALUES (1, 1)")
            server.stop()
            started = time.monotonic()
            server.start()
            with psycopg.connect(url) as agent:
                assert agent.execute("SELECT tenant FROM accounts WHERE id = 1").fetchone() == (1,)
            times.append(time.monotonic() - started)
            memory.append(server.resident_bytes() / 1e6)
    rows = [["cold start to the first governed row, s", peers.median(times)], ["idle memory, MB", peers.median(memory)]]
    return "## Start\n\n" + peers.table(["", "Weir"], rows)

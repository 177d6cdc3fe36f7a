"""64 clients insert while the server is killed with -9, again and again: nothing acknowledged is lost."""

import os
import random
import threading
import time

import psycopg
from weir_server import WeirServer

CLIENTS = 64
KILLS = int(os.environ.get("TEST_KILLS", "20"))
SEED = int(os.environ.get("TEST_SEED", "0")) or random.SystemRandom().randrange(1 << 32)


def insert(url, client, numbers, acknowledged, attempted, stop):
    """One transaction of two rows each, so that half of one would show."""
    while not stop.is_set():
        try:
            with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
                while not stop.is_set():
                    number = next(numbers)
                    attempted.add((client, number))
                    with connection.transaction():
                        connection.execute("INSERT INTO marks VALUES (%s, %s, 'a')", (client, number))
                        connection.execute("INSERT INTO marks VALUES (%s, %s, 'b')", (client, number))
                    acknowledged.add((client, number))
        except psycopg.Error:
            time.sleep(0.01)


def test_kill_nine():
    print(f"TEST_SEED={SEED}")
    dice = random.Random(SEED)
    settings = {"WEIR_RESOURCE_GOVERNOR_ENABLED": "false", "WEIR_FLUSH_INTERVAL_SECS": "1"}
    with WeirServer(demo=True, scale=0.001, settings=settings) as weir:
        url = weir.urls["ADMIN"]
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("CREATE TABLE marks (client int, number bigint, half text, PRIMARY KEY (client, number, half))")
        acknowledged = [set() for _ in range(CLIENTS)]
        attempted = [set() for _ in range(CLIENTS)]
        counters = [iter(range(1 << 60)) for _ in range(CLIENTS)]
        for kill in range(KILLS):
            stop = threading.Event()
            clients = [
                threading.Thread(target=insert, args=(url, i, counters[i], acknowledged[i], attempted[i], stop))
                for i in range(CLIENTS)
            ]
            for client in clients:
                client.start()
            time.sleep(dice.uniform(0.2, 2.0))
            weir.kill()
            stop.set()
            for client in clients:
                client.join()
            weir.start()
            check(url, acknowledged, attempted, kill)
            # A record torn by the kill is cut at the start; nothing else may be amiss.
            verified = weir.run("audit", "verify", str(weir.data), check=False)
            assert verified.returncode == 0, f"after kill {kill}: {verified.stdout}{verified.stderr}"
        assert weir.stop() == 0
        verified = weir.run("audit", "verify", str(weir.data), check=False)
        assert verified.returncode == 0, verified.stdout + verified.stderr


def check(url, acknowledged, attempted, kill):
    with psycopg.connect(url, autocommit=True) as admin:
        rows = admin.execute("SELECT client, number, count(*), min(half), max(half) FROM marks GROUP BY 1, 2").fetchall()
    present = {(client, number) for client, number, *_ in rows}
    halves = [row for row in rows if row[2:] != (2, "a", "b")]
    assert not halves, f"after kill {kill}: half a transaction: {halves[:3]}"
    lost = set().union(*acknowledged) - present
    assert not lost, f"after kill {kill}: {len(lost)} acknowledged rows are gone, such as {min(lost)}"
    invented = present - set().union(*attempted)
    assert not invented, f"after kill {kill}: rows that nobody sent: {list(invented)[:3]}"
    print(f"kill {kill}: {len(present)} transactions present, {sum(map(len, acknowledged))} acknowledged")

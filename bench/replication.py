"""Nodes that replicate facts: how soon a write shows on its peers, and how long a new node takes to have everything."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import facts
import peers

WRITES = int(os.environ.get("BENCH_WRITES", "2000"))
FACTS = int(os.environ.get("BENCH_FACTS_COUNT", "1000000"))


def figures(folder, *arguments):
    program = Path(facts.program()).with_name("peer_figures")
    done = subprocess.run([program, *map(str, arguments)], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def run():
    root = Path(tempfile.mkdtemp(prefix="weir-peers-"))
    try:
        with contextlib.ExitStack() as stack:
            (root / "nats").mkdir()
            broker = "nats://" + stack.enter_context(facts.nats(root / "nats", None)).removeprefix("nats:")
            rows = []
            for mode in ("gossip", "pubsub", "hybrid"):
                for count in (1, 4):
                    found = figures(root, "latency", mode, count, WRITES, broker)
                    names = ("acknowledged_p50_ms", "acknowledged_p99_ms", "visible_p50_ms", "visible_p99_ms")
                    rows.append([f"{mode}, {count} peers" if count > 1 else f"{mode}, 1 peer", *(found[name] for name in names)])
            joined = figures(root, "join", FACTS)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    head = ["milliseconds", "durable here, median", "99 %", "from then to visible on all peers, median", "99 %"]
    text = "## Replicated facts, all nodes on one machine\n\n" + peers.table(head, rows)
    row = [f"{joined['facts']:,} facts", joined["joined_s"], joined["put_meanwhile_p50_ms"], joined["put_meanwhile_p99_ms"]]
    return text + "\n" + peers.table(["a node joins", "seconds", "durable put meanwhile, median, ms", "99 %, ms"], [row])

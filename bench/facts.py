"""Facts beside Redis and NATS KV: durable puts, reads, memory. One program (BENCH_FACTS) loads all of them alike, Redis
and the facts' data plane over Unix sockets, NATS over loopback. BENCH_FACTS_SOCKET and BENCH_FACTS_TOKEN name a data
plane that runs already, to be measured instead of one started here."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import peers
from weir_server import free_port

SECONDS = float(os.environ.get("BENCH_SECONDS", "5"))
RUNS = int(os.environ.get("BENCH_RUNS", "3"))
#: Of the server that the program starts by itself.
TOKEN = "ipe_service_bench_0123456789abcdef"


def program():
    named = os.environ.get("BENCH_FACTS")
    if not named:
        raise RuntimeError("BENCH_FACTS names no load program; run `make bench`")
    return named


def load(target, what, clients=1, seconds=SECONDS, keys=100_000):
    command = [program(), "load", target, os.environ.get("BENCH_FACTS_TOKEN", TOKEN), what, str(clients), str(int(seconds)), str(keys)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@contextlib.contextmanager
def server(command, folder, ready, settings={}):
    """A server in a session of its own, as a service runs."""
    with open(folder / "log", "ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, env=os.environ | settings
        )
    try:
        for _ in range(600):
            if ready() or process.poll() is not None:
                break
            time.sleep(0.05)
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} did not start: {(folder / 'log').read_text()[-2000:]}")
        yield process
    finally:
        process.stdin.close()
        process.terminate()
        process.wait(timeout=60)


@contextlib.contextmanager
def facts(folder, settings={}):
    if "BENCH_FACTS_SOCKET" in os.environ:
        yield os.environ["BENCH_FACTS_SOCKET"], None
        return
    socket = folder / "sockets" / "data.sock"
    with server([program(), "serve", str(folder)], folder, socket.exists, settings) as process:
        yield str(socket), process


@contextlib.contextmanager
def redis(folder, fsync):
    socket = folder / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", "", "--appendonly", "yes", "--appendfsync", fsync]
    with server(command, folder, socket.exists):
        yield f"redis:{socket}"


@contextlib.contextmanager
def nats(folder, sync):
    port = free_port()
    interval = f", sync_interval: {sync}" if sync else ""
    (folder / "nats.conf").write_text(f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{folder}/data"{interval} }}\n')
    ready = lambda: "Server is ready" in (folder / "log").read_text()
    with server(["nats-server", "-c", str(folder / "nats.conf")], folder, ready):
        yield f"nats:127.0.0.1:{port}"


def resident_mb(process):
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def versions():
    first = lambda *command: subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[0]
    return f"{first('redis-server', '--version')}; {first('nats-server', '--version')}"


#: Measured beside a neighbour.
BUSY = "64 clients, busy disk"

LOADS = {
    "1 client": ("put", 1),
    "64 clients": ("put", 64),
    "1 client, pipelined": ("pipelined", 1),
    "in batches of 1,000": ("batched", 1),
    BUSY: ("put", 64),
}

#: Keeps the disk busy: writes 1 MB over and over, and waits until it is there.
NEIGHBOUR = """
import os, sys
file, bytes = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), b"x" * (1 << 20)
while True:
    for place in range(256):
        os.pwrite(file, bytes, place << 20)
        os.fdatasync(file)
"""


@contextlib.contextmanager
def neighbour(folder):
    file = folder / "written"
    with server([sys.executable, "-c", NEIGHBOUR, str(file)], folder, lambda: file.exists() and file.stat().st_size > 1 << 20):
        yield


#: Has the allocator give memory back to the system at once.
FRUGAL = {"MIMALLOC_ALLOW_THP": "0", "MIMALLOC_PURGE_DELAY": "0"}


def memory(root):
    """Of the facts alone, in a process of their own: with 100,000 facts at rest, and with 10,000 subscriptions to them."""
    rows = []
    for name, settings in {"as it is": {}, " ".join(f"{name}={value}" for name, value in FRUGAL.items()): FRUGAL}.items():
        folder = root / f"memory-{len(rows)}"
        folder.mkdir()
        with facts(folder, settings) as (socket, process):
            load(socket, "fill")
            time.sleep(5)
            rested = resident_mb(process)
            command = [program(), "load", socket, TOKEN, "subscribe", "10000"]
            with server(command, folder, lambda: b"rate" in (folder / "log").read_bytes()):
                listening = resident_mb(process)
        rows.append([name, rested, listening])
    return rows


def run():
    root = Path(tempfile.mkdtemp(prefix="weir-facts-"))
    try:
        with contextlib.ExitStack() as stack:
            return measure(root, stack.enter_context)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def measure(root, enter):
    def folder(name):
        (root / name).mkdir()
        return root / name

    resident = [] if "BENCH_FACTS_SOCKET" in os.environ else memory(root)
    own, process = enter(facts(folder("facts")))
    if process:
        load(own, "fill")
    reads = [["get, 1 client", load(own, "get")], ["get, 64 clients", load(own, "get", 64)]]
    targets = {
        "Weir": own,
        "Redis, fsync always": enter(redis(folder("redis-always"), "always")),
        "Redis, every second": enter(redis(folder("redis-everysec"), "everysec")),
        "NATS, sync always": enter(nats(folder("nats-always"), "always")),
        "NATS, as it comes": enter(nats(folder("nats"), None)),
    }
    lines, beside = [], folder("neighbour")
    for name, (what, clients) in LOADS.items():
        able = {who: target for who, target in targets.items() if what != "batched" or "NATS" not in who}
        contenders = {who: lambda target=target: load(target, what, clients)["rate"] for who, target in able.items()}
        with neighbour(beside) if name == BUSY else contextlib.nullcontext():
            figures = peers.interleaved(RUNS, contenders)
        ratio = lambda who: peers.median([a / b for a, b in zip(figures["Weir"], figures[who])]) if who in figures else "-"
        cells = [float(peers.median(figures[who])) if who in figures else "-" for who in targets]
        lines.append([name, *cells, ratio("Redis, fsync always"), ratio("NATS, sync always")])
    head = ["", *targets, "times Redis, fsync always", "times NATS, sync always"]
    text = f"## Durable puts of facts with values of 100 bytes, encrypted (a second)\n\n{versions()}\n\n" + peers.table(head, lines)
    rows = [[name, float(figures["rate"]), figures["p50_us"], figures["p99_us"]] for name, figures in reads]
    text += "\n" + peers.table(["over the socket", "a second", "median, us", "99 %, us"], rows)
    head = ["resident, MB", "100,000 facts", "with 10,000 subscriptions"]
    return text + ("\n" + peers.table(head, resident) if resident else "")

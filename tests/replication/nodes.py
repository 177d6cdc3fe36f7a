"""Nodes of one plane, each the real program in a network namespace of its own, and a broker beside them."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from weir_server import program

NAMESPACES = """\
[[namespace]]
name = "own"
strategy = "lww"
writers = ["load"]
readers = ["load"]

[[namespace]]
name = "shared"
strategy = "lww"
writers = ["load"]
readers = ["load"]

[[namespace]]
name = "grants"
strategy = "deny_wins"
writers = ["load"]
readers = ["load"]

[[namespace]]
name = "counts"
strategy = "counter"
writers = ["load"]
readers = ["load"]
"""

POLICY = """\
org = "acme"
[roles.admin]
[agents.admin]
roles = ["admin"]

[facts.requests]
key = "counts.${request.user_id}"
default = 0
"""
LIMIT = 100
# A gateway counts a request first and asks then, so its own requests never slip by each other.
BELOW_LIMIT = f"permit (principal, action, resource) when {{ context.facts.requests.value <= {LIMIT} }};\n"
BROKER = 6


class Failed(Exception):
    """A request was answered with an error, or not at all."""

    def __init__(self, error, is_certain):
        super().__init__(str(error))
        # Whether nothing was written for sure.
        self.is_certain = is_certain


class Client(http.client.HTTPConnection):
    """Requests over a Unix socket, one after the other on one connection."""

    def __init__(self, path, token):
        super().__init__("weir", timeout=40)
        self.path, self.token = str(path), token

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def ask(self, method, **params):
        body = json.dumps({"method": method, "params": params})
        try:
            self.request("POST", "/", body, {"Authorization": f"Bearer {self.token}"})
            answer = json.loads(self.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            refused = isinstance(error, (ConnectionRefusedError, FileNotFoundError))
            self.close()
            raise Failed(error, refused) from error
        if "error" in answer:
            # A write that timed out may have been made.
            raise Failed(answer["error"], answer["error"]["code"] != -32008)
        return answer["result"]


class Node:
    def __init__(self, plane, number):
        self.plane, self.number, self.name = plane, number, f"n{number}"
        self.data = plane.folder / self.name
        self.log = plane.folder / f"{self.name}.log"
        self.process = None

    def settings(self):
        address, plane = self.plane.network.address, self.plane
        seeds = ",".join(f"{address(other)}:5482" for other in range(1, plane.size + 1))
        return {
            "WEIR_FACTS_NODE": self.name,
            "WEIR_FACTS_NAMESPACES_FILE": str(plane.namespaces_of(self.number)),
            "WEIR_FACTS_AUDIT_WRITES_EVERY": "0",
            "WEIR_FACTS_APP_REQUESTS_PER_MINUTE": "1000000",
            "WEIR_FACTS_PEERS_MODE": plane.mode,
            "WEIR_FACTS_PEERS_START": "found" if self.number == 1 else "join",
            "WEIR_FACTS_PEERS_LISTEN": f"{address(self.number)}:5482",
            "WEIR_FACTS_PEERS_SEEDS": seeds,
            "WEIR_FACTS_NATS_SERVERS": f"nats://{address(BROKER)}:4222",
            "WEIR_CACHE_BYTES": "16MiB",
            "WEIR_MEMORY_LIMIT": "256MiB",
            "WEIR_MEMORY_STATEMENT_LIMIT": "128MiB",
        }

    def prepare(self):
        keys = self.data / "keys" / "facts"
        keys.mkdir(parents=True, mode=0o700)
        (self.data / "keys").chmod(0o700)
        self.data.chmod(0o700)
        authority = self.plane.folder / "authority"
        self.plane.run("facts", "plane", "certificate", "--authority", authority, "--plane", "acme", "--node", self.name,
                       "--out", keys)
        shutil.copy(authority / "ca.crt", keys / "ca.crt")
        shutil.copy(self.plane.folder / "plane.key", keys / "plane.key")
        issue = lambda *kind: self.plane.run("facts", "token", "issue", "--data", self.data, *kind).strip()
        self.token = issue("--kind", "service", "--name", "load")
        self.admin = issue("--kind", "admin")
        self.app = issue("--kind", "app", "--name", "gateway")

    def start(self):
        kept = {name: text for name, text in os.environ.items() if not name.startswith("WEIR_")}
        command = [str(program()), "up", "--data", str(self.data), "--policies", str(self.plane.folder / "policies")]
        command += ["--listen", "127.0.0.1:5439", "--http", "127.0.0.1:5480"]
        with open(self.log, "ab") as log:
            command = self.plane.network.command(self.number, *command)
            self.process = subprocess.Popen(command, env=kept | self.settings(), stdout=log, stderr=log)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def data_client(self):
        return Client(self.data / "sockets" / "data.sock", self.token)

    def control_client(self):
        return Client(self.data / "sockets" / "control.sock", self.admin)

    def evaluation_client(self):
        return Client(self.data / "sockets" / "eval.sock", self.app)

    def is_serving(self):
        try:
            return self.control_client().ask("stats")["is_serving"]
        except Failed:
            return False

    def wait(self, seconds=60):
        deadline = time.monotonic() + seconds
        while not self.is_serving():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not serve:\n{self.log_tail()}")
            time.sleep(0.1)

    def standing(self):
        """Epoch and root of what it shows, and whether it lacks anything that it knows of."""
        own = self.control_client().ask("peers")["node"]
        return own["epoch"], own["root"], bool(own["lag"])

    def log_tail(self, lines=20):
        text = re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text(errors="replace"))
        return "\n".join(text.splitlines()[-lines:])


class Plane:
    """A plane of `size` nodes, the first two in the network's left half with the broker. `namespaces`: what nodes have, by
    number, that do not have what all have."""

    def __init__(self, network, mode, size=5, namespaces={}):
        self.network, self.mode, self.size, self.namespaces = network, mode, size, namespaces
        self.folder = Path(tempfile.mkdtemp(prefix="wf-"))
        self.broker = None

    def namespaces_of(self, number):
        return self.folder / (f"namespaces-{number}.toml" if number in self.namespaces else "namespaces.toml")

    def run(self, *arguments):
        command = [str(program()), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def __enter__(self):
        (self.folder / "namespaces.toml").write_text(NAMESPACES)
        for number, text in self.namespaces.items():
            self.namespaces_of(number).write_text(text)
        policies = self.folder / "policies"
        policies.mkdir()
        (policies / "policy.toml").write_text(POLICY)
        (policies / "access.cedar").write_text('permit (principal in Role::"admin", action, resource);\n')
        (policies / "row_filters.sql").write_text("-- no filters\n")
        (policies / "decisions").mkdir()
        (policies / "decisions" / "limit.cedar").write_text(BELOW_LIMIT)
        self.run("facts", "plane", "create", "--authority", self.folder / "authority", "--plane", "acme")
        self.run("facts", "plane", "key", self.folder / "plane.key")
        if self.mode != "gossip":
            self.start_broker()
        self.nodes = [Node(self, number) for number in range(1, self.size + 1)]
        try:
            for node in self.nodes:
                node.prepare()
                node.start()
            for node in self.nodes:
                node.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start_broker(self):
        command = self.network.command(BROKER, "nats-server", "--addr", self.network.address(BROKER), "--port", "4222")
        log = open(self.folder / "nats.log", "ab")
        self.broker = subprocess.Popen(command, stdout=log, stderr=log)
        log.close()

    def kill_broker(self):
        self.broker.kill()
        self.broker.wait()

    def __exit__(self, *_):
        for node in self.nodes:
            node.kill()
        if self.broker:
            self.kill_broker()
        shutil.rmtree(self.folder, ignore_errors=True)

    def converge(self, seconds):
        """Until all nodes show the same and lack nothing; how long that took."""
        begun = time.monotonic()
        while True:
            standings = {node.name: node.standing() for node in self.nodes}
            if len(set(standings.values())) == 1 and not next(iter(standings.values()))[2]:
                return time.monotonic() - begun
            if time.monotonic() - begun > seconds:
                logs = "\n".join(f"--- {node.name}\n{node.log_tail(5)}" for node in self.nodes)
                raise AssertionError(f"after {seconds} s the nodes differ: {standings}\n{logs}")
            time.sleep(0.05)

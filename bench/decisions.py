"""Decisions on facts: how soon an approval opens a table and a revocation closes it, and what applications wait for."""

import http.client
import json
import os
import socket
import time

import facts
import peers
import psycopg
from weir_server import WeirServer

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "500"))
SENIORS = {"approvers": [{"user": user, "role": "senior_engineer"} for user in ("alice", "bob")]}
CHANGE = "UPDATE orders SET o_comment = 'corrected' WHERE o_orderkey = 1"
KEYS = 1_000


class Socket(http.client.HTTPConnection):
    """Requests over a Unix socket, one after the other on one connection."""

    def __init__(self, path, token):
        super().__init__("weir")
        self.path, self.token = str(path), token

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def ask(self, method, **params):
        body = json.dumps({"method": method, "params": params})
        self.request("POST", "/", body, {"Authorization": f"Bearer {self.token}"})
        return json.loads(self.getresponse().read())["result"]


def quantiles(times):
    times = sorted(times)
    at = lambda share: times[round((len(times) - 1) * share)] * 1e6
    return [at(0.5), at(0.99)]


def flips(weir):
    """From the acknowledgement of an approval to an UPDATE that was done, and of a revocation to one that was refused."""
    service = Socket(weir.data / "sockets" / "data.sock", weir.tokens["DEPLOYMENT_SERVICE_TOKEN"])
    opened, closed = [], []
    with psycopg.connect(weir.urls["OPERATOR"], autocommit=True) as operator:
        for _ in range(ROUNDS):
            service.ask("put", key="approvals.operator.orders", value=SENIORS)
            begun = time.perf_counter()
            assert operator.execute(CHANGE).rowcount == 1
            opened.append(time.perf_counter() - begun)
            service.ask("delete", key="approvals.operator.orders")
            begun = time.perf_counter()
            try:
                operator.execute(CHANGE)
                raise AssertionError("a revocation did not close the table")
            except psycopg.errors.InsufficientPrivilege:
                closed.append(time.perf_counter() - begun)
    return opened, closed


def evaluations(weir):
    service = Socket(weir.data / "sockets" / "data.sock", weir.tokens["DEPLOYMENT_SERVICE_TOKEN"])
    entries = [{"key": f"approvals.deploy-{number}", "value": SENIORS} for number in range(KEYS)]
    service.ask("batch-put", entries=entries)
    os.environ["BENCH_FACTS_TOKEN"] = weir.tokens["APP_TOKEN"]
    path = str(weir.data / "sockets" / "eval.sock")
    asked = {
        "1 client": ("evaluate", 1),
        "16 clients": ("evaluate", 16),
        "2 clients, pipelined": ("evaluate-pipelined", 2),
    }
    try:
        return {name: facts.load(path, what, clients, keys=KEYS) for name, (what, clients) in asked.items()}
    finally:
        del os.environ["BENCH_FACTS_TOKEN"]


def run():
    settings = {"WEIR_FACTS_APP_REQUESTS_PER_MINUTE": "4000000000"}
    with WeirServer(demo=True, scale=0.01, settings=settings, detached=True) as weir:
        opened, closed = flips(weir)
        figures = evaluations(weir)
    rows = [
        ["an approval, to an UPDATE that is done", *quantiles(opened)],
        ["a revocation, to an UPDATE that is refused", *quantiles(closed)],
    ]
    text = "## Decisions on facts, microseconds from the acknowledgement\n\n" + peers.table(["", "median", "99 %"], rows)
    rows = [[name, float(figure["rate"]), figure["p50_us"], figure["p99_us"]] for name, figure in figures.items()]
    return text + "\n" + peers.table(["evaluate over the socket", "a second", "median, us", "99 %, us"], rows)

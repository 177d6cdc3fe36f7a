"""Clients that write and remember what was acknowledged to them."""

import itertools
import random
import threading
import time

from nodes import Failed

NUMBERS = itertools.count()
OWN_KEYS = 20
SHARED_KEYS = 10


class Writer(threading.Thread):
    """One client of one node, until it is told to stop."""

    def __init__(self, node, seed):
        super().__init__(daemon=True)
        self.node, self.random = node, random.Random(seed)
        self.stopping = threading.Event()
        # Of its own keys: the last value acknowledged, and values whose fate is not known since.
        self.own = {}
        # Of shared keys: the highest version acknowledged to it.
        self.shared = {}
        self.counted, self.maybe_counted = 0, 0
        self.acknowledged = self.failed = self.number = 0
        # Nobody else, earlier or later, writes the keys that are named after it.
        self.name = f"{node.name}-{next(NUMBERS)}"

    def run(self):
        client = self.node.data_client()
        while not self.stopping.is_set():
            self.number += 1
            try:
                self.random.choice((self.write_own, self.write_shared, self.count))(client)
                self.acknowledged += 1
            except Failed:
                self.failed += 1
                time.sleep(0.02)
            time.sleep(0.002)

    def write_own(self, client):
        key = f"own.{self.name}-{self.random.randrange(OWN_KEYS)}"
        sure, unsure = self.own.get(key, (None, []))
        if self.random.random() < 0.15:
            value, ask = None, lambda: client.ask("delete", key=key)
        else:
            value = {"by": self.name, "number": self.number}
            ask = lambda: client.ask("put", key=key, value=value)
        try:
            ask()
            self.own[key] = (value, [])
        except Failed as failed:
            if not failed.is_certain:
                self.own[key] = (sure, [*unsure, value])
            raise

    def write_shared(self, client):
        key = f"shared.{self.random.randrange(SHARED_KEYS)}"
        written = client.ask("put", key=key, value={"by": self.name, "number": self.number})
        self.shared[key] = max(self.shared.get(key, 0), written["version"])

    def count(self, client):
        by = self.random.randrange(1, 5)
        try:
            client.ask("incr", key="counts.all", by=by)
            self.counted += by
        except Failed as failed:
            self.maybe_counted += 0 if failed.is_certain else by
            raise


def start(plane, clients=2):
    writers = [Writer(node, seed) for node in plane.nodes for seed in range(clients)]
    for writer in writers:
        writer.start()
    return writers


def stop(writers):
    for writer in writers:
        writer.stopping.set()
    for writer in writers:
        writer.join(60)
        assert not writer.is_alive(), writer.name


def check(plane, writers):
    """Fails if a node lacks what was acknowledged, unless by what was written later."""
    for node in plane.nodes:
        client = node.data_client()

        def found(key):
            return client.ask("batch-get", keys=[key])["results"][0]

        for writer in writers:
            for key, (sure, unsure) in writer.own.items():
                entry = found(key)
                assert entry["value"] in [sure, *unsure], (node.name, key, entry, sure, unsure)
            for key, version in writer.shared.items():
                assert found(key)["version"] >= version, (node.name, key)
        total = found("counts.all")["value"] or 0
        least = sum(writer.counted for writer in writers)
        most = least + sum(writer.maybe_counted for writer in writers)
        assert least <= total <= most, (node.name, total, least, most)

"""Five nodes of the real program under load: cut in halves, killed, without their broker. Whatever was acknowledged is
there afterwards, everywhere and soon.

REPLICATION_SECONDS is how long each trouble lasts (3).
"""

import os
import random
import time

import load
import pytest
from nodes import Plane

TROUBLE = float(os.environ.get("REPLICATION_SECONDS", "3"))
# After a trouble is over all nodes have to be the same within this time, in seconds.
HEALED = 5


@pytest.mark.parametrize("mode", ["gossip", "pubsub", "hybrid"])
def test_nothing_acknowledged_is_lost_and_all_become_the_same(network, mode):
    with Plane(network, mode) as plane:
        writers = load.start(plane)
        took = {}

        def quiet(after):
            """Writers pause, so that there is an end to become the same at."""
            nonlocal writers
            load.stop(writers)
            took[after] = plane.converge(HEALED)
            load.check(plane, everybody)
            writers = load.start(plane)
            everybody.extend(writers)

        everybody = list(writers)
        time.sleep(TROUBLE)
        quiet("calm")
        network.cut()
        time.sleep(TROUBLE)
        network.heal()
        quiet("cut")
        if mode != "gossip":
            plane.kill_broker()
            time.sleep(TROUBLE)
            plane.start_broker()
            quiet("broker")
        chosen = random.Random(mode).sample(plane.nodes, 2)
        for node in chosen:
            node.kill()
            time.sleep(TROUBLE / 2)
            node.start()
            node.wait()
        quiet("kills")
        load.stop(writers)
        took["end"] = plane.converge(HEALED)
        load.check(plane, everybody)
        acknowledged = sum(writer.acknowledged for writer in everybody)
        assert acknowledged > 100, acknowledged
        seconds = {name: round(value, 2) for name, value in took.items()}
        print(f"{mode}: {acknowledged} acknowledged writes; the same again after {seconds} s")

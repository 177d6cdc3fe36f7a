"""A namespace that is left to some nodes: what another writes there is refused by itself, and by all whom it is sent to."""

import time

import pytest
from nodes import NAMESPACES, Failed, Plane

LEFT_TO_THE_FIRST = NAMESPACES.replace('name = "grants"\n', 'name = "grants"\nnodes = ["n1"]\n')
FOREIGN = "grants.prod"


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


def read(node, key):
    try:
        return node.data_client().ask("get", key=key)["value"]
    except Failed as failed:
        assert "-32004" in str(failed), failed
        return None


def test_nodes_refuse_what_their_own_clients_may_not_write(network):
    with Plane(network, "gossip", size=2, namespaces=dict.fromkeys((1, 2), LEFT_TO_THE_FIRST)) as plane:
        first, second = (node.data_client() for node in plane.nodes)
        first.ask("put", key=FOREIGN, value="allowed")
        until(lambda: read(plane.nodes[1], FOREIGN) == "allowed")
        write = {"op": "put", "key": FOREIGN, "value": "forged"}
        entry = {"key": FOREIGN, "value": "forged"}
        for method, params in {
            "put": entry,
            "delete": {"key": FOREIGN},
            "batch-put": {"entries": [{"key": "own.a", "value": 1}, entry], "atomic": True},
            "transaction": {"operations": [{"op": "put", "key": "own.a", "value": 1}, write]},
        }.items():
            with pytest.raises(Failed, match="-32003") as refused:
                second.ask(method, **params)
            assert "namespace" in str(refused.value)
        assert (read(plane.nodes[1], FOREIGN), read(plane.nodes[1], "own.a")) == ("allowed", None)
        second.ask("put", key="own.a", value=1)
        until(lambda: read(plane.nodes[0], "own.a") == 1)
        plane.converge(5)


@pytest.mark.parametrize("mode", ["gossip", "pubsub"])
def test_no_node_takes_from_another_what_that_may_not_write(network, mode):
    """The second node's file was changed, or its program: the others hold to theirs."""
    with Plane(network, mode, size=3, namespaces=dict.fromkeys((1, 3), LEFT_TO_THE_FIRST)) as plane:
        first, second, third = plane.nodes
        second.data_client().ask("put", key="own.before", value=1)
        until(lambda: read(first, "own.before") == 1 and read(third, "own.before") == 1)
        first.data_client().ask("put", key=FOREIGN, value="allowed")
        until(lambda: read(second, FOREIGN) == "allowed")
        second.data_client().ask("put", key=FOREIGN, value="forged")
        until(lambda: "may not write there" in first.log_tail(400) and "may not write there" in third.log_tail(400))
        # Nor is it taken when it is asked for again, or compared.
        for node in (first, third):
            node.control_client().ask("repair")
        time.sleep(3)
        assert (read(first, FOREIGN), read(third, FOREIGN)) == ("allowed", "allowed")
        # The others are undisturbed.
        third.data_client().ask("put", key="own.after", value=2)
        until(lambda: read(first, "own.after") == 2)

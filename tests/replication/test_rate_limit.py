"""Three gateways keep one user's limit, through a cut between them: a limit holds for those who hear each other, so
together they never let through more than the limit for each of them."""

import threading
import time

from nodes import LIMIT, Plane

GATEWAYS = 3
USER = "alice"
REQUESTS = 4 * LIMIT


class Gateway(threading.Thread):
    def __init__(self, node):
        super().__init__(daemon=True)
        self.node = node
        self.admitted = 0

    def admits(self, service, app):
        counted = service.ask("incr", key=f"counts.{USER}", by=1)
        context = {"resource": "api", "action": "call", "request": {"user_id": USER}}
        decided = app.ask("evaluate", policies=["limit"], context=context)
        assert counted["value"] <= LIMIT or decided["decision"] == "deny", (counted, decided)
        return decided["decision"] == "allow"

    def run(self):
        service, app = self.node.data_client(), self.node.evaluation_client()
        for _ in range(REQUESTS):
            self.admitted += self.admits(service, app)


def test_a_limit_is_kept_by_all_who_hear_each_other(network):
    with Plane(network, "gossip", size=GATEWAYS) as plane:
        network.cut()
        gateways = [Gateway(node) for node in plane.nodes]
        for gateway in gateways:
            gateway.start()
        for gateway in gateways:
            gateway.join(120)
        admitted = [gateway.admitted for gateway in gateways]
        network.heal()
        # The third is alone: its requests are counted by it alone, and it stops at the limit.
        assert admitted[2] == LIMIT, admitted
        assert sum(admitted) <= GATEWAYS * LIMIT, admitted
        # Of the two that hear each other, one may ask about a request of its own below the limit when the other has already
        # counted past it; whoever counted past it has no other request open. So they refuse one too many at most.
        assert admitted[0] + admitted[1] >= LIMIT - 1, admitted
        plane.converge(5)
        counts = {node.data_client().ask("get", key=f"counts.{USER}")["value"] for node in plane.nodes}
        assert counts == {GATEWAYS * REQUESTS}
        for gateway in gateways:
            assert not gateway.admits(gateway.node.data_client(), gateway.node.evaluation_client())
        print(f"admitted {admitted} of {REQUESTS} each, at most {GATEWAYS * LIMIT} in all")


def test_when_all_hear_each_other_they_keep_it_together(network):
    """One after the other, each hears of the others' requests: the limit is kept exactly."""
    with Plane(network, "gossip", size=GATEWAYS) as plane:
        gateways = [Gateway(node) for node in plane.nodes]
        clients = [(node.data_client(), node.evaluation_client()) for node in plane.nodes]
        admitted = 0
        for number in range(LIMIT + 20):
            at = number % GATEWAYS
            # What one counted, the next has to have heard.
            deadline = time.monotonic() + 10
            while number and time.monotonic() < deadline:
                found = clients[at][0].ask("batch-get", keys=[f"counts.{USER}"])["results"][0]
                if found["value"] == number:
                    break
            admitted += gateways[at].admits(*clients[at])
        assert admitted == LIMIT

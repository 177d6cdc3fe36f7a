"""What each gate costs: its own clock under a load of prepared key look-ups."""

import re

import lookup
import peers

BUCKET = re.compile(r'weir_gate_duration_seconds_bucket\{gate="([^"]+)",le="([^"]+)"\} (\d+)')


def quantile(buckets, share):
    """Within its bucket by straight line, in microseconds; bounds grow by a quarter."""
    wanted = share * buckets[-1][1]
    below, counted = 0.0, 0
    for bound, count in buckets:
        if count >= wanted:
            return (below + (bound - below) * (wanted - counted) / max(count - counted, 1)) * 1e6
        below, counted = bound, count


def run():
    with peers.weir(WEIR_METRICS_GATES="true") as weir:
        lookup.fill(weir.issue_key("bench", "plain"))
        url = weir.issue_key("bench", "governed")
        before = histograms(weir)
        peers.pgbench(url, lookup.SCRIPT, 1, 5)
        gates = {
            gate: [(bound, count - dict(before.get(gate, [])).get(bound, 0)) for bound, count in buckets]
            for gate, buckets in histograms(weir).items()
        }
    names = sorted((gate for gate in gates if gate != "all"), key=lambda gate: int(gate.split()[0])) + ["all"]
    rows = [[gate, quantile(gates[gate], 0.5), quantile(gates[gate], 0.99)] for gate in names]
    head = ["gate", "median", "99 %"]
    return "## The cost of each gate for a prepared key look-up, microseconds\n\n" + peers.table(head, rows)


def histograms(weir):
    gates = {}
    for gate, bound, count in BUCKET.findall(weir.get("/metrics")[1]):
        gates.setdefault(gate, []).append((float(bound), int(count)))
    return gates

"""What each gate costs: medians of its own clock under a load of prepared key look-ups."""

import re

import lookup
import peers


def run():
    with peers.weir(WEIR_MEASURE_GATES="true") as weir:
        lookup.fill(weir.issue_key("bench", "plain"))
        peers.pgbench(weir.issue_key("bench", "governed"), lookup.SCRIPT, 1, 5)
        text = weir.get("/metrics")[1]
    found = re.findall(r'weir_gate_duration_seconds\{gate="([\w ]+)",quantile="(0\.5|0\.99)"\} ([\d.e+-]+)', text)
    gates = {}
    for gate, quantile, seconds in found:
        gates.setdefault(gate, {})[quantile] = float(seconds) * 1e6
    rows = [[gate, figures["0.5"], figures["0.99"]] for gate, figures in gates.items() if gate != "all"]
    rows.append(["all", gates["all"]["0.5"], gates["all"]["0.99"]])
    return "## The cost of each gate, microseconds\n\n" + peers.table(["gate", "median", "99 %"], rows)

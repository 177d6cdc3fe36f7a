"""Two agents race with a thousand statements: no balance is overspent, and what does not run costs nothing."""

import threading
from decimal import Decimal

import psycopg
import pytest
from weir_server import WeirServer

POLICY = """\
org = "tight"

[roles.reader]
[roles.auditor]
[quota]
org_credits = 300
agent_credits = 200
[agents.one]
roles = ["reader"]
[agents.two]
roles = ["reader"]
[agents.watcher]
roles = ["auditor"]
credits = 1000000
"""

ACCESS = """\
permit (principal in Role::"reader", action, resource in Schema::"public");
permit (principal in Role::"reader", action == Action::"create", resource);
permit (principal in Role::"auditor", action == Action::"select", resource == Table::"weir.usage");
"""


@pytest.fixture(scope="module")
def weir(tmp_path_factory):
    policies = tmp_path_factory.mktemp("policies")
    (policies / "policy.toml").write_text(POLICY)
    (policies / "access.cedar").write_text(ACCESS)
    (policies / "row_filters.sql").write_text("")
    with WeirServer(policies=policies) as server:
        yield server


def usage(url):
    with psycopg.connect(url, autocommit=True) as watcher:
        rows = watcher.execute("SELECT agent, credits_settled, credits_reserved, balance FROM weir.usage").fetchall()
    return {agent: (Decimal(str(settled)), Decimal(str(reserved)), balance) for agent, settled, reserved, balance in rows}


def test_race(weir):
    urls = {name: weir.issue_key("tight", name) for name in ("one", "two")}
    watcher = weir.issue_key("tight", "watcher")
    with psycopg.connect(urls["one"], autocommit=True) as one:
        one.execute("CREATE TABLE t (id int PRIMARY KEY)")
    before = usage(watcher)
    outcomes = {"one": [], "two": []}

    def race(name, statements):
        with psycopg.connect(urls[name], autocommit=True) as connection:
            for number in range(statements):
                try:
                    connection.execute(f"SELECT * FROM t WHERE id = {number}")
                    outcomes[name].append("ok")
                except psycopg.errors.ConfigurationLimitExceeded:
                    outcomes[name].append("refused")

    threads = [threading.Thread(target=race, args=(name, 50)) for name in ("one", "two") for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = usage(watcher)
    assert len(outcomes["one"]) + len(outcomes["two"]) == 1000
    for name in ("one", "two"):
        settled, reserved, balance = after[name]
        assert settled <= 200 and reserved == 0 and balance >= 0, after[name]
        each = 2
        assert settled - before.get(name, (0,))[0] == each * outcomes[name].count("ok"), (name, after[name])
    org = after[None]
    assert org[0] <= 300 and org[2] >= 0, org
    assert "refused" in outcomes["one"] + outcomes["two"]


def test_failed_and_cancelled_statements_release_what_they_reserved(weir):
    watcher = weir.issue_key("tight", "watcher")
    before = usage(watcher)
    url = weir.issue_key("tight", "one")
    with psycopg.connect(url, autocommit=True) as connection:
        for sql in ("SELECT 1/0 FROM t", "SELECT nothing FROM t", "SELECT * FROM missing", "SELEC"):
            with pytest.raises(psycopg.Error):
                connection.execute(sql)
    after = usage(watcher)
    assert after["one"][0] == before["one"][0] and after["one"][1] == 0


def test_balances_survive_a_restart(weir):
    watcher = weir.issue_key("tight", "watcher")
    before = usage(watcher)
    weir.kill()
    weir.start()
    after = usage(watcher)
    assert (after["one"][0], after["two"][0]) == (before["one"][0], before["two"][0])

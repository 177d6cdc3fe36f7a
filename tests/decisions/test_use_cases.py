"""The use cases of facts, end to end: services write with curl, applications ask with curl, agents change rows with SQL."""

import json
import subprocess

import psycopg
import pytest

SENIORS = [{"user": name, "role": "senior_engineer", "timestamp": 1698765000} for name in ("alice", "bob")]


def curl(weir, plane, token, *arguments, path="/"):
    """The JSON that the socket answers."""
    socket = weir.data / "sockets" / f"{plane}.sock"
    command = ["curl", "--silent", "--show-error", "--unix-socket", str(socket), *arguments]
    command += ["--header", f"Authorization: Bearer {weir.tokens[token]}", f"http://weir{path}"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(answer) if answer else None


def put(weir, token, key, value, ttl=None):
    params = {"key": key, "value": value} | ({"ttl": ttl} if ttl else {})
    answer = curl(weir, "data", token, "--data", json.dumps({"method": "put", "params": params}))
    assert "result" in answer, answer
    return answer["result"]


def delete(weir, token, key):
    return curl(weir, "data", token, "--request", "DELETE", path=f"/data/{key}")


def evaluate(weir, policy, request=None, **more):
    context = {"resource": "deployments", "action": "deploy", "request": request or {}}
    params = {"policies": [policy], "context": context} | more
    answer = curl(weir, "eval", "APP_TOKEN", "--data", json.dumps({"method": "evaluate", "params": params}))
    return answer["result"] if "result" in answer else answer["error"]


def update(connection):
    return connection.execute("UPDATE orders SET o_comment = 'corrected' WHERE o_orderkey = 1").rowcount


def test_two_senior_approvals_let_a_deployment_through_and_a_revocation_closes_it(weir):
    ask = lambda **more: evaluate(weir, "prod.deployment.approval", {"deployment_id": "deploy-123"}, **more)
    assert ask()["decision"] == "deny"
    first = {"deployment_id": "deploy-123", "approvers": SENIORS[:1]}
    put(weir, "DEPLOYMENT_SERVICE_TOKEN", "approvals.deploy-123", first)
    assert ask()["decision"] == "deny"
    # One person twice is one person, and a junior is none.
    twice = first | {"approvers": [SENIORS[0], SENIORS[0], {"user": "eve", "role": "engineer"}]}
    put(weir, "DEPLOYMENT_SERVICE_TOKEN", "approvals.deploy-123", twice)
    assert ask()["decision"] == "deny"
    written = put(weir, "DEPLOYMENT_SERVICE_TOKEN", "approvals.deploy-123", first | {"approvers": SENIORS})
    allowed = ask(min_cursor=written["cursor"])
    assert allowed["decision"] == "allow", allowed
    assert allowed["evaluation_time_us"] >= 0 and "two-senior-approvers" in allowed["reason"], allowed
    # Another deployment is another question.
    assert evaluate(weir, "prod.deployment.approval", {"deployment_id": "deploy-124"})["decision"] == "deny"
    delete(weir, "DEPLOYMENT_SERVICE_TOKEN", "approvals.deploy-123")
    assert ask()["decision"] == "deny"


def test_the_same_approval_opens_a_table_to_an_agent(weir, agent):
    operator = agent("OPERATOR")
    with pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
        update(operator)
    assert "corrections-need-two-senior-approvals" in refused.value.diag.message_detail
    put(weir, "DEPLOYMENT_SERVICE_TOKEN", "approvals.operator.orders", {"approvers": SENIORS})
    assert update(operator) == 1
    delete(weir, "DEPLOYMENT_SERVICE_TOKEN", "approvals.operator.orders")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        update(operator)


def test_an_approval_with_a_lifetime_ends_with_it(weir, agent):
    operator = agent("OPERATOR")
    put(weir, "DEPLOYMENT_SERVICE_TOKEN", "approvals.operator.orders", {"approvers": SENIORS}, ttl=1)
    assert update(operator) == 1
    import time

    time.sleep(1.1)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        update(operator)


def test_every_statement_asks_anew_also_prepared_and_in_a_transaction(weir):
    put(weir, "DEPLOYMENT_SERVICE_TOKEN", "approvals.operator.orders", {"approvers": SENIORS})
    change = "UPDATE orders SET o_comment = 'again' WHERE o_orderkey = %s"
    with psycopg.connect(weir.urls["OPERATOR"], prepare_threshold=0) as connection:
        connection.autocommit = True
        for _ in range(20):
            assert connection.execute(change, (1,)).rowcount == 1
        delete(weir, "DEPLOYMENT_SERVICE_TOKEN", "approvals.operator.orders")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(change, (1,))
        put(weir, "DEPLOYMENT_SERVICE_TOKEN", "approvals.operator.orders", {"approvers": SENIORS})
        connection.autocommit = False
        assert connection.execute(change, (1,)).rowcount == 1
        delete(weir, "DEPLOYMENT_SERVICE_TOKEN", "approvals.operator.orders")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(change, (1,))
        connection.rollback()


def test_groups_are_asked_for_by_user(weir):
    ask = lambda user: evaluate(weir, "prod.access.senior-engineers", {"user_id": user})["decision"]
    assert ask("alice") == "deny"
    alice = {"user_id": "alice", "groups": ["engineering", "senior-engineers"], "manager": "charlie", "org_unit": "platform"}
    curl(
        weir, "data", "IDENTITY_SERVICE_TOKEN", "--request", "PUT", "--data", json.dumps(alice),
        path="/data/relationships.user-alice",
    )
    assert ask("alice") == "allow"
    assert ask("bob") == "deny"
    put(weir, "IDENTITY_SERVICE_TOKEN", "relationships.user-alice", alice | {"groups": ["engineering"]})
    assert ask("alice") == "deny"


def test_a_window_that_is_full_closes(weir):
    ask = lambda: evaluate(weir, "api.rate-limit", {"user_id": "alice"})["decision"]
    window = {"user_id": "alice", "endpoint": "/api/deployments", "window_start": 1698765000}
    assert ask() == "allow"
    put(weir, "GATEWAY_SERVICE_TOKEN", "rate_limits.user-alice", window | {"requests_in_window": 245}, ttl=3600)
    assert ask() == "allow"
    put(weir, "GATEWAY_SERVICE_TOKEN", "rate_limits.user-alice", window | {"requests_in_window": 1000}, ttl=3600)
    assert ask() == "deny"


def test_a_counter_closes_at_its_limit(weir):
    ask = lambda: evaluate(weir, "api.rate-limit-counted", {"user_id": "bob", "window": "w1"})["decision"]
    incr = lambda by: curl(
        weir, "data", "GATEWAY_SERVICE_TOKEN", "--data",
        json.dumps({"method": "incr", "params": {"key": "counters.user-bob.w1", "by": by}}),
    )["result"]["value"]
    assert ask() == "allow"
    assert incr(999) == 999
    assert ask() == "allow"
    assert incr(1) == 1000
    assert ask() == "deny"


@pytest.mark.parametrize(
    "policy, request_, expected",
    [
        ("prod.nothing", {}, -32000),
        # What a key is made with is missing, is more than one part of a key, or is a pattern.
        ("prod.deployment.approval", {}, "refused"),
        ("prod.deployment.approval", {"deployment_id": "a.b"}, "refused"),
        ("prod.deployment.approval", {"deployment_id": "*"}, "refused"),
        ("prod.deployment.approval", {"deployment_id": ["deploy-123"]}, "refused"),
        ("prod.deployment.approval", {"deployment_id": None}, "refused"),
    ],
)
def test_what_cannot_be_decided_is_not_allowed(weir, policy, request_, expected):
    put(weir, "DEPLOYMENT_SERVICE_TOKEN", "approvals.a.b", {"approvers": SENIORS})
    answer = evaluate(weir, policy, request_)
    if expected == "refused":
        assert answer.get("decision") == "deny" or answer["code"] in (-32602, -32002), answer
    else:
        assert answer["code"] == expected, answer


def test_facts_are_tables_under_the_policy(weir, agent):
    put(weir, "DEPLOYMENT_SERVICE_TOKEN", "approvals.table-1", {"approvers": SENIORS}, ttl=3600)
    admin = agent("ADMIN")
    rows = admin.execute(
        "SELECT key, value, version > 0, created_at <= updated_at, expires_at - updated_at, conflicted"
        " FROM facts.approvals WHERE key = 'approvals.table-1'"
    ).fetchall()
    assert len(rows) == 1
    key, value, has_version, is_ordered, lifetime, conflicted = rows[0]
    assert value == {"approvers": SENIORS} and has_version and is_ordered and not conflicted
    assert lifetime.total_seconds() == 3600
    count = admin.execute("SELECT count(*) FROM facts.approvals WHERE value->>'approvers' LIKE '%alice%'").fetchone()[0]
    assert count >= 1
    # To agents that no rule lets read them they are not there.
    with pytest.raises(psycopg.errors.UndefinedTable):
        agent("ANALYST_EU").execute("SELECT * FROM facts.approvals")
    # Nobody writes them by SQL, and nobody makes others beside them.
    for statement in (
        "INSERT INTO facts.approvals (key) VALUES ('approvals.x')",
        "DELETE FROM facts.approvals",
        "UPDATE facts.approvals SET value = '{}'",
        "CREATE TABLE facts.mine (id int)",
        "DROP TABLE facts.approvals",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            admin.execute(statement)
    with pytest.raises(psycopg.errors.UndefinedTable):
        admin.execute("SELECT * FROM facts.nothing")
    # Another org has none.
    with pytest.raises(psycopg.Error):
        agent("GLOBEX").execute("SELECT * FROM facts.approvals")
    names = admin.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'facts'").fetchall()
    assert ("approvals",) in names and ("relationships",) in names, names


def test_a_decision_leaves_its_rule_in_the_journal(weir, agent):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        update(agent("OPERATOR"))
    rules = agent("AUDITOR").execute(
        "SELECT rules FROM weir.audit WHERE agent = 'operator' ORDER BY time DESC, record DESC LIMIT 1"
    ).fetchone()
    assert "corrections-need-two-senior-approvals" in str(rules), rules

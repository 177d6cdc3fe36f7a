"""What services and administrators ask, by curl and in frames."""

import json
import time

from facts_client import Stream, code, curl, done, rpc

VALUE = {"approvers": ["alice", "bob"], "required": 2}


def test_a_fact_is_put_read_and_deleted(weir, token):
    deploy = token["DEPLOYMENT_SERVICE"]
    put = done(rpc(weir, deploy, "put", {"key": "approvals.deploy-1", "value": VALUE, "ttl": 3600}))
    assert put["key"] == "approvals.deploy-1" and put["version"] > 0
    got = done(rpc(weir, deploy, "get", {"key": "approvals.deploy-1"}))
    assert got["value"] == VALUE and got["version"] == put["version"]
    assert 3590 <= got["expires_at"] - got["updated_at"] <= 3600
    gone = done(rpc(weir, deploy, "delete", {"key": "approvals.deploy-1"}))
    assert gone["tombstone"] and gone["version"] > put["version"]
    assert code(rpc(weir, deploy, "get", {"key": "approvals.deploy-1"})) == -32004
    # What was never there can be deleted too, so that older writes stay away.
    assert done(rpc(weir, deploy, "delete", {"key": "approvals.never"}))["tombstone"]


def test_the_short_forms_do_the_same(weir, token):
    deploy, path = token["DEPLOYMENT_SERVICE"], "/data/approvals.rest"
    status, answer = curl(weir, "-X", "PUT", token=deploy, path=path, body=json.dumps(VALUE).encode())
    assert status == 200 and answer["result"]["key"] == "approvals.rest", answer
    status, answer = curl(weir, token=deploy, path=path)
    assert status == 200 and answer["result"]["value"] == VALUE
    assert curl(weir, "-X", "DELETE", token=deploy, path=path)[0] == 200
    assert curl(weir, token=deploy, path=path)[0] == 404
    status, answer = curl(weir, "-X", "PUT", "-H", "TTL: 1", token=deploy, path=path, body=b"1")
    assert status == 200, answer
    time.sleep(1.1)
    assert curl(weir, token=deploy, path=path)[0] == 404


def test_batches_and_transactions(weir, token):
    deploy = token["DEPLOYMENT_SERVICE"]
    entries = [{"key": f"approvals.batch-{at}", "value": at} for at in range(100)]
    assert done(rpc(weir, deploy, "batch-put", {"entries": entries}))["applied"] == 100
    keys = ["approvals.batch-7", "approvals.batch-none"]
    found = done(rpc(weir, deploy, "batch-get", {"keys": keys}))["results"]
    assert found[0]["value"] == 7 and found[1] == {"key": keys[1], "value": None, "found": False}
    operations = [{"op": "put", "key": "approvals.tx", "value": 1}, {"op": "delete", "key": "approvals.batch-7"}]
    assert done(rpc(weir, deploy, "transaction", {"operations": operations}))["applied"] == 2
    assert code(rpc(weir, deploy, "get", {"key": "approvals.batch-7"})) == -32004
    # All of it or nothing.
    stale = [{"op": "put", "key": "approvals.tx", "value": 2}, {"op": "put", "key": "approvals.batch-8", "value": 0, "if_version": 1}]
    assert code(rpc(weir, deploy, "transaction", {"operations": stale})) == -32005
    assert done(rpc(weir, deploy, "get", {"key": "approvals.tx"}))["value"] == 1


def test_conditions_count_here(weir, token):
    deploy, key = token["DEPLOYMENT_SERVICE"], "approvals.condition"
    put = lambda value, version: rpc(weir, deploy, "put", {"key": key, "value": value, "if_version": version})
    first = done(put(1, 0))["version"]
    assert code(put(2, 0)) == -32005
    assert done(put(2, first))["version"] > first
    assert code(put(3, first)) == -32005


def test_a_query_finds_by_member_and_goes_on(weir, token):
    identity = token["IDENTITY_SERVICE"]
    for at in range(25):
        value = {"group": "senior" if at % 5 == 0 else "junior", "n": at}
        done(rpc(weir, identity, "put", {"key": f"relationships.user-{at:02}", "value": value}))
    senior = {"pattern": "relationships.*", "filter": {"group": "senior"}}
    page = done(rpc(weir, identity, "query", senior | {"limit": 3}))
    rest = done(rpc(weir, identity, "query", senior | {"after": page["next"]}))
    assert [entry["value"]["n"] for entry in page["results"] + rest["results"]] == [0, 5, 10, 15, 20]


def test_counters_count(weir, token):
    gateway, key = token["GATEWAY_SERVICE"], "counters.user-1"
    assert [done(rpc(weir, gateway, "incr", {"key": key, "by": by}))["value"] for by in (1, 5, -2)] == [1, 6, 4]
    assert done(rpc(weir, gateway, "get", {"key": key}))["value"] == 4
    assert code(rpc(weir, gateway, "put", {"key": key, "value": 9})) == -32602
    assert code(rpc(weir, gateway, "incr", {"key": "rate_limits.user-1", "by": 1})) == -32602


def test_who_subscribes_is_told(weir, token):
    deploy = token["DEPLOYMENT_SERVICE"]
    done(rpc(weir, deploy, "put", {"key": "approvals.watched.old", "value": "there"}))
    with Stream(weir, deploy) as stream:
        assert "subscribe" in stream.hello["capabilities"]
        subscribed = stream.ask("s", "subscribe", {"pattern": "approvals.watched.*", "include_existing": True})
        assert subscribed["event"] == "result"
        assert stream.next()["params"]["value"] == "there"
        done(rpc(weir, deploy, "put", {"key": "approvals.watched.new", "value": 1}))
        done(rpc(weir, deploy, "put", {"key": "approvals.elsewhere", "value": 2}))
        done(rpc(weir, deploy, "delete", {"key": "approvals.watched.new"}))
        update, delete = stream.next(), stream.next()
        assert update["event"] == "data-changed" and update["params"]["type"] == "update"
        assert update["params"]["key"] == delete["params"]["key"] == "approvals.watched.new"
        assert delete["params"]["type"] == "delete"
        cursor = update["params"]["cursor"]
    # Who comes back goes on where it was.
    with Stream(weir, deploy) as stream:
        stream.ask("s", "subscribe", {"pattern": "approvals.watched.*", "after": cursor})
        assert stream.next()["params"]["type"] == "delete"


def test_requests_follow_each_other_without_waiting(weir, token):
    with Stream(weir, token["DEPLOYMENT_SERVICE"]) as stream:
        for at in range(200):
            stream.send(f"r{at}", "put", {"key": f"approvals.piped-{at}", "value": at})
        answers = {message["id"]: message["event"] for message in (stream.next() for _ in range(200))}
        assert answers == {f"r{at}": "result" for at in range(200)}


def test_administrators_read_and_ask_how_it_is(weir, token):
    admin = token["FACTS_ADMIN"]
    done(rpc(weir, token["DEPLOYMENT_SERVICE"], "put", {"key": "approvals.seen", "value": 1}))
    assert done(rpc(weir, admin, "get", {"key": "approvals.seen"}))["value"] == 1
    stats = done(rpc(weir, admin, "stats", plane="control"))
    assert stats["is_serving"] and stats["namespaces"]["approvals"]["facts"] >= 1
    assert done(rpc(weir, admin, "metadata", plane="control"))["namespaces"]["approvals"] == {"strategy": "deny_wins"}
    assert "approvals.seen" in done(rpc(weir, admin, "list", {"prefix": "approvals.s"}, plane="control"))["keys"]
    assert done(rpc(weir, admin, "sync", plane="control"))["cursor"].startswith("c:")


def test_applications_are_let_in_where_decisions_are_asked(weir, token):
    assert done(rpc(weir, token["APP"], "get-feature-flags", plane="eval"))["flags"] is not None
    assert done(rpc(weir, token["APP"], "ping", plane="eval"))["pong"]

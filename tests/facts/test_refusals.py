"""Who may not, and what is not taken: the reference's codes, nothing changed, nobody else disturbed."""

import contextlib
import json
import time

import psycopg
import pytest
from facts_client import Stream, code, curl, done, rpc

FOREIGN = "relationships.user-alice"


@pytest.fixture
def bystander(weir, token):
    """Another client, who must be served all the while."""
    with Stream(weir, token["DEPLOYMENT_SERVICE"]) as stream:
        yield stream
        assert stream.ask("after", "ping", {})["result"]["pong"]


@pytest.mark.parametrize("given", [None, "", "nonsense", "ipe_service_deployment-service_0000000000000000", "ipe_admin_" + "0" * 32])
@pytest.mark.parametrize("plane", ["data", "eval", "control"])
def test_a_wrong_token_is_401(weir, bystander, plane, given):
    status, answer = curl(weir, plane=plane, token=given, body=b'{"method":"ping"}')
    assert (status, code(answer)) == (401, -32003)


@pytest.mark.parametrize(
    "plane, name",
    [("data", "APP"), ("eval", "DEPLOYMENT_SERVICE"), ("eval", "FACTS_ADMIN"), ("control", "DEPLOYMENT_SERVICE"), ("control", "APP")],
)
def test_a_token_of_another_kind_is_403(weir, token, bystander, plane, name):
    status, answer = curl(weir, plane=plane, token=token[name], body=b'{"method":"ping"}')
    assert (status, code(answer)) == (403, -32003)


def foreign_requests():
    own = {"key": "approvals.beside", "value": "changed"}
    return [
        ("put", {"key": FOREIGN, "value": "changed"}),
        ("update-data", {"key": FOREIGN, "value": "changed"}),
        ("delete", {"key": FOREIGN}),
        ("incr", {"key": "counters.foreign", "by": 1}),
        ("batch-put", {"entries": [own, {"key": FOREIGN, "value": "changed"}]}),
        ("batch-put", {"entries": [own, {"key": FOREIGN, "value": "changed"}], "atomic": True}),
        ("transaction", {"operations": [{"op": "put", **own}, {"op": "delete", "key": FOREIGN}]}),
        ("get", {"key": FOREIGN}),
        ("batch-get", {"keys": ["approvals.beside", FOREIGN]}),
        ("query", {"pattern": "relationships.*"}),
        ("query", {"pattern": "*"}),
        ("subscribe", {"pattern": "relationships.*"}),
        ("subscribe", {"pattern": "*"}),
    ]


@pytest.fixture(scope="module")
def owned(weir, token):
    done(rpc(weir, token["IDENTITY_SERVICE"], "put", {"key": FOREIGN, "value": "mine"}))
    done(rpc(weir, token["DEPLOYMENT_SERVICE"], "put", {"key": "approvals.beside", "value": "as it was"}))


def nothing_changed(weir, token):
    got = lambda key: rpc(weir, token["FACTS_ADMIN"], "get", {"key": key})
    assert done(got(FOREIGN))["value"] == "mine"
    assert done(got("approvals.beside"))["value"] == "as it was"
    assert code(got("counters.foreign")) == -32004


@pytest.mark.parametrize("method, params", foreign_requests())
def test_a_foreign_namespace_is_refused_by_every_path(weir, token, owned, bystander, method, params):
    deploy = token["DEPLOYMENT_SERVICE"]
    answer = rpc(weir, deploy, method, params)
    assert code(answer) == -32003 and answer["error"]["data"]["reason"] == "namespace", answer
    with Stream(weir, deploy) as stream:
        assert stream.ask("x", method, params)["error"]["code"] == -32003
    array = json.dumps([{"id": 1, "method": method, "params": params}]).encode()
    assert code(curl(weir, token=deploy, body=array)[1][0]) == -32003
    nothing_changed(weir, token)


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_the_short_forms_are_refused_too(weir, token, owned, bystander, method):
    body = b'"changed"' if method == "PUT" else None
    status, answer = curl(weir, "-X", method, token=token["DEPLOYMENT_SERVICE"], path=f"/data/{FOREIGN}", body=body)
    assert (status, code(answer)) == (403, -32003)
    nothing_changed(weir, token)


def test_administrators_write_no_facts(weir, token, owned):
    admin = token["FACTS_ADMIN"]
    assert code(rpc(weir, admin, "put", {"key": "approvals.beside", "value": "changed"})) == -32003
    hint = rpc(weir, admin, "update-data", {"key": "approvals.beside", "value": "changed"}, plane="control")
    assert code(hint) == -32601
    nothing_changed(weir, token)


BAD_KEYS = ["approvals", "approvals.", ".approvals.x", "approvals..x", "approvals.a b", "approvals.a\nb", "approvals.\u0000", "approvals.\u001b[31m", "approvals.ü", "_internal.x", "approvals." + "k" * 512, ""]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_bad_keys(weir, token, bystander, key):
    deploy = token["DEPLOYMENT_SERVICE"]
    for method, params in [
        ("put", {"key": key, "value": 1}),
        ("delete", {"key": key}),
        ("batch-put", {"entries": [{"key": key, "value": 1}]}),
        ("transaction", {"operations": [{"op": "put", "key": key, "value": 1}]}),
    ]:
        answer = rpc(weir, deploy, method, params)
        assert code(answer) == -32602 and "key" in answer["error"]["data"]["field"], answer


@pytest.mark.parametrize("ttl", [0, -1, 1.5, "60", True, 1e30, 9_999_999_999_999])
def test_bad_times_to_live(weir, token, bystander, ttl):
    deploy, key = token["DEPLOYMENT_SERVICE"], "approvals.ttl"
    answer = rpc(weir, deploy, "put", {"key": key, "value": 1, "ttl": ttl})
    assert code(answer) == -32602 and answer["error"]["data"]["field"] == "ttl", answer
    assert code(rpc(weir, deploy, "get", {"key": key})) == -32004
    assert curl(weir, "-X", "PUT", token=deploy, path=f"/data/{key}?ttl=0", body=b"1")[0] in (400, 422)


def test_oversized_values_and_messages(weir, token, bystander):
    deploy, key = token["DEPLOYMENT_SERVICE"], "approvals.large"
    assert code(rpc(weir, deploy, "put", {"key": key, "value": "x" * 300_000})) == -32006
    body = json.dumps({"method": "put", "params": {"key": key, "value": "x" * 2_000_000}}).encode()
    status, answer = curl(weir, token=deploy, body=body)
    assert status == 413 and code(answer) == -32006
    with Stream(weir, deploy) as stream:
        # It is answered before it has been read to its end.
        with contextlib.suppress(BrokenPipeError):
            stream.send("x", "put", {"key": key, "value": "x" * 2_000_000})
        assert stream.next()["error"]["code"] == -32006
        assert stream.next() is None
    many = [{"key": f"approvals.many-{at}", "value": 1} for at in range(10_001)]
    assert code(rpc(weir, deploy, "batch-put", {"entries": many})) == -32006
    assert code(rpc(weir, deploy, "get", {"key": key})) == -32004


@pytest.mark.parametrize("value", ["[" * 100_000, "[" * 500 + "]" * 500, '{"a":' * 500 + "1" + "}" * 500])
def test_deep_json(weir, token, bystander, value):
    deploy = token["DEPLOYMENT_SERVICE"]
    body = f'{{"method":"put","params":{{"key":"approvals.deep","value":{value}}}}}'.encode()
    assert code(curl(weir, token=deploy, body=body)[1]) in (-32700, -32600, -32602)
    assert code(rpc(weir, deploy, "get", {"key": "approvals.deep"})) == -32004


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b"[]", b"1", b'{"method":1}', b"\xff\xfe\x00", b'{"params":{}}'])
def test_what_is_no_request(weir, token, bystander, body):
    answer = curl(weir, token=token["DEPLOYMENT_SERVICE"], body=body)[1]
    assert code(answer) in (-32700, -32600)


def test_methods_of_other_planes_are_none_here(weir, token):
    assert code(rpc(weir, token["APP"], "put", {"key": "approvals.x", "value": 1}, plane="eval")) == -32601
    assert code(rpc(weir, token["DEPLOYMENT_SERVICE"], "stats")) == -32601
    assert code(rpc(weir, token["FACTS_ADMIN"], "nonsense", plane="control")) == -32601


def test_the_journal_tells_of_refusals_and_control_without_names_of_keys(weir, token):
    deploy = token["DEPLOYMENT_SERVICE"]
    assert code(rpc(weir, deploy, "put", {"key": "relationships.telltale-name", "value": "telltale-value"})) == -32003
    done(rpc(weir, token["FACTS_ADMIN"], "stats", plane="control"))
    with psycopg.connect(weir.urls["AUDITOR"], autocommit=True) as auditor:

        def details(event):
            found = auditor.execute("SELECT detail FROM weir.audit WHERE event = %s", [event]).fetchall()
            return [detail if isinstance(detail, dict) else json.loads(detail) for (detail,) in found]

        deadline = time.monotonic() + 10
        while not (controls := [detail for detail in details("facts_controlled") if detail["method"] == "stats"]):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert controls[0]["caller"] == "admin"
        # There may have been so many refusals before that this one was only counted.
        refused = details("facts_refused")
        assert any(detail["error"] == "-32003" for detail in refused)
    for path in (weir.data / "audit").rglob("*"):
        if path.is_file():
            assert b"telltale" not in path.read_bytes(), path

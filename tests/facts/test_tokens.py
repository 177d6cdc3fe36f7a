"""Tokens come and go while the server runs."""

import time

import psycopg
import pytest
from facts_client import Stream, curl, tokens
from weir_server import WeirServer


@pytest.fixture(scope="module")
def own():
    with WeirServer(demo=True, scale=0.001) as server:
        yield server


def ping(weir, token, plane="data"):
    return curl(weir, plane=plane, token=token, body=b'{"method":"ping"}')[0]


def soon(holds):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def issue(weir, *arguments):
    issued = weir.run("facts", "token", "issue", "--data", str(weir.data), *arguments)
    return issued.stdout.strip(), issued.stderr.split()[1]


def test_an_old_and_a_new_token_are_good_together(own):
    old, old_id = issue(own, "--kind", "service", "--name", "rotating")
    soon(lambda: ping(own, old) == 200)
    new, _ = issue(own, "--kind", "service", "--name", "rotating")
    soon(lambda: ping(own, new) == 200)
    assert ping(own, old) == 200
    with Stream(own, old) as stream, Stream(own, new) as other:
        own.run("facts", "token", "revoke", "--data", str(own.data), old_id)
        soon(lambda: ping(own, old) == 401)
        assert ping(own, new) == 200
        assert other.ask("x", "ping", {})["result"]["pong"]
        # Also where it had come in before.
        answer = stream.ask("x", "ping", {})
        assert answer is None or answer["error"]["code"] == -32003
    with psycopg.connect(own.urls["AUDITOR"], autocommit=True) as auditor:
        told = "SELECT count(*) FROM weir.audit WHERE event = %s AND detail::text LIKE '%%service rotating%%'"
        soon(lambda: auditor.execute(told, ["key_issued"]).fetchone() == (2,))
        soon(lambda: auditor.execute(told, ["key_revoked"]).fetchone() == (1,))


def test_a_token_ends_with_its_time(own):
    token, _ = issue(own, "--kind", "app", "--name", "brief", "--ttl", "2s")
    soon(lambda: ping(own, token, "eval") == 200)
    soon(lambda: ping(own, token, "eval") == 401)


def test_a_file_that_others_may_read_lets_nobody_in(own):
    token, _ = issue(own, "--kind", "service", "--name", "exposed")
    soon(lambda: ping(own, token) == 200)
    file = own.data / "facts/tokens/service.exposed.token"
    file.chmod(0o644)
    soon(lambda: ping(own, token) == 401)
    assert "can be read by others" in own.get("/status")[1]
    file.chmod(0o600)
    soon(lambda: ping(own, token) == 200)


def test_files_hold_no_secret(own):
    given = tokens(own)
    assert len(given) == 5
    for file in (own.data / "facts").rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            for name, token in given.items():
                assert token.rsplit("_", 1)[1].encode() not in content, (file, name)
    listed = own.run("facts", "token", "list", "--data", str(own.data)).stdout
    assert "service deployment-service" in listed and "admin" in listed


def test_the_demo_keeps_its_tokens(own):
    before = tokens(own)
    revoked = [line.split()[0] for line in own.run("facts", "token", "list", "--data", str(own.data)).stdout.splitlines() if "identity-service" in line]
    own.run("facts", "token", "revoke", "--data", str(own.data), *revoked)
    own.stop()
    own.start()
    after = tokens(own)
    assert {name for name in before if before[name] != after[name]} == {"IDENTITY_SERVICE"}
    assert ping(own, after["DEPLOYMENT_SERVICE"]) == ping(own, after["IDENTITY_SERVICE"]) == 200

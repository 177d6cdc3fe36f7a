"""What the disk has: nothing readable, nothing lost that was acknowledged, nothing opened with a wrong key."""

import socket
import time

import psycopg
import pytest
from facts_client import Stream, curl, done, rpc, tokens
from weir_server import WeirServer


@pytest.fixture
def own():
    """The folder of a demo that has run; started anew by the test."""
    with WeirServer(demo=True, scale=0.001) as server:
        yield server


def test_nothing_is_readable_and_nothing_acknowledged_is_lost(own):
    deploy = tokens(own)["DEPLOYMENT_SERVICE"]
    written = {}
    for turn in range(3):
        with Stream(own, deploy) as stream:
            for at in range(200):
                key, value = f"approvals.telltale-{turn}-{at}", {"secret": f"telltale-value-{at}"}
                written[key] = done(stream.ask(key, "put", {"key": key, "value": value}))["version"]
            own.kill()
        own.start()
        keys = list(written)
        found = done(rpc(own, deploy, "batch-get", {"keys": keys}))["results"]
        assert [entry["version"] for entry in found] == [written[key] for key in keys]
        assert all(entry["value"]["secret"].startswith("telltale-value") for entry in found)
    files = [path for path in (own.data / "facts").rglob("*") if path.is_file()]
    assert any(path.stat().st_size > 0 for path in files)
    for path in files:
        assert b"telltale" not in path.read_bytes(), path


def fails_to_start(weir, expected):
    with pytest.raises(RuntimeError) as failure:
        weir.start()
    assert expected in str(failure.value), failure.value


def test_a_key_that_others_may_read_stops_the_start(own):
    own.stop()
    key = own.data / "keys/facts.key"
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o644)
    fails_to_start(own, "may be read by others")
    key.chmod(0o600)
    own.start()


def test_a_wrong_missing_or_broken_key_stops_the_start(own):
    deploy = tokens(own)["DEPLOYMENT_SERVICE"]
    done(rpc(own, deploy, "put", {"key": "approvals.kept", "value": 1}))
    own.stop()
    key = own.data / "keys/facts.key"
    right = key.read_text()
    key.write_text("ab" * 32 + "\n")
    fails_to_start(own, "is not the one that the facts")
    key.write_text("nonsense\n")
    fails_to_start(own, "holds no key")
    key.unlink()
    fails_to_start(own, "is missing")
    assert not key.exists()
    key.touch(mode=0o600)
    key.write_text(right)
    own.start()
    assert done(rpc(own, deploy, "get", {"key": "approvals.kept"}))["value"] == 1


def test_facts_that_are_damaged_do_not_take_sql_down(own):
    own.stop()
    for path in (own.data / "facts/store").iterdir():
        if path.is_file() and path.name == "store":
            path.write_text("from the future 99\n")
    own.start(until="/livez")
    deadline = time.monotonic() + 60
    while "facts are not served" not in (unready := own.get("/readyz")[1]) or "starting" in unready:
        assert time.monotonic() < deadline, unready
        time.sleep(0.1)
    assert own.get("/readyz")[0] == 503
    with psycopg.connect(own.urls["ADMIN"], autocommit=True) as admin:
        assert admin.execute("SELECT count(*) FROM region").fetchone() == (5,)
    assert "not served" in own.get("/status")[1]


def test_a_socket_that_is_taken_is_said(own):
    own.stop()
    place = own.data / "sockets/data.sock"
    place.write_text("something else")
    own.start(until="/livez")
    deadline = time.monotonic() + 60
    while "no socket" not in (unready := own.get("/readyz")[1]) or "starting" in unready:
        assert time.monotonic() < deadline, unready
        time.sleep(0.1)
    with psycopg.connect(own.urls["ADMIN"], autocommit=True) as admin:
        assert admin.execute("SELECT count(*) FROM region").fetchone() == (5,)
    assert place.read_text() == "something else"


def test_sockets_are_as_private_as_they_are_to_be(own):
    modes = {name: (own.data / f"sockets/{name}.sock").stat().st_mode & 0o777 for name in ("data", "eval", "control")}
    assert modes == {"data": 0o660, "eval": 0o666, "control": 0o660}
    own.stop()
    assert not (own.data / "sockets/data.sock").exists()
    with pytest.raises(OSError):
        socket.socket(socket.AF_UNIX).connect(str(own.data / "sockets/data.sock"))
    own.start()
    assert curl(own, token=tokens(own)["DEPLOYMENT_SERVICE"], body=b'{"method":"ping"}')[0] == 200

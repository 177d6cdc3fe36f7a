"""For people: the command line, the status page, metrics, TLS, settings."""

import json
import ssl
import subprocess
import time

import pytest
from facts_client import done, rpc, tokens
from weir_server import WeirServer, free_port, program


def facts(weir, *arguments, token=None, check=True, stdin=None):
    environment = weir.environment() | ({"WEIR_FACTS_TOKEN": token} if token else {})
    command = [str(program()), "facts", *arguments, "--data", str(weir.data)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=check, input=stdin)


def test_the_command_line_writes_and_reads(weir, token):
    deploy, gateway = token["DEPLOYMENT_SERVICE"], token["GATEWAY_SERVICE"]
    put = json.loads(facts(weir, "put", "approvals.cli", '{"approvers": ["alice"]}', "--ttl", "1h", token=deploy).stdout)
    assert put["version"] > 0
    # The owner of the data folder reads without a token.
    assert json.loads(facts(weir, "get", "approvals.cli").stdout) == {"approvers": ["alice"]}
    assert json.loads(facts(weir, "get", "--entry", "approvals.cli").stdout)["version"] == put["version"]
    facts(weir, "put", "approvals.cli-2", "-", "--if-version", "0", token=deploy, stdin='{"required": 2}')
    found = facts(weir, "query", "approvals.*", "--where", "required=2").stdout.splitlines()
    assert [json.loads(line)["key"] for line in found] == ["approvals.cli-2"]
    assert facts(weir, "incr", "counters.cli", "5", token=gateway).stdout == "5\n"
    assert facts(weir, "incr", "counters.cli", "-2", token=gateway).stdout == "3\n"
    assert json.loads(facts(weir, "delete", "approvals.cli", token=deploy).stdout)["tombstone"]


def test_failures_go_to_stderr_with_a_code(weir, token):
    def check(expected_code, said, *arguments, **options):
        failed = facts(weir, *arguments, check=False, **options)
        assert (failed.returncode, failed.stdout) == (expected_code, ""), failed
        assert said in failed.stderr, failed.stderr

    check(1, "Key not found (-32004)", "get", "approvals.none")
    check(1, "`weir facts token issue", "put", "approvals.x", "1")
    check(1, "namespaces.toml", "put", "relationships.x", "1", token=token["DEPLOYMENT_SERVICE"])
    check(1, "Unauthorized (-32003)", "get", "approvals.x", "--token", "nonsense")
    check(2, "the value is not JSON", "put", "approvals.x", "yes", token=token["DEPLOYMENT_SERVICE"])
    check(2, "required", "token", "issue", "--kind", "service")
    check(1, "Invalid params (-32602)", "get", "approvals")


def test_changes_are_watched(weir, token):
    deploy = token["DEPLOYMENT_SERVICE"]
    command = [str(program()), "facts", "watch", "approvals.cli-watch.*", "--existing", "--data", str(weir.data)]
    done(rpc(weir, deploy, "put", {"key": "approvals.cli-watch.a", "value": 1}))
    with subprocess.Popen(command, env=weir.environment(), stdout=subprocess.PIPE, text=True) as watch:
        assert json.loads(watch.stdout.readline())["key"] == "approvals.cli-watch.a"
        done(rpc(weir, deploy, "put", {"key": "approvals.cli-watch.b", "value": 2}))
        change = json.loads(watch.stdout.readline())
        assert (change["type"], change["key"], change["value"]) == ("update", "approvals.cli-watch.b", 2)
        watch.terminate()


def test_status_and_metrics(weir, token):
    done(rpc(weir, token["DEPLOYMENT_SERVICE"], "put", {"key": "approvals.measured", "value": 1}))
    rpc(weir, token["DEPLOYMENT_SERVICE"], "put", {"key": "relationships.measured", "value": 1})
    page = facts(weir, "status").stdout
    assert page.startswith("Node ") and "serving" in page and "approvals" in page and "deny_wins" in page
    status = weir.get("/status")[1]
    assert "\nFacts\n" in status and "org acme" in status and "approvals (deny_wins)" in status
    assert weir.metric("weir_facts_up") == 1
    assert weir.metric("weir_facts_requests_total", method="put", outcome="ok") >= 1
    assert weir.metric("weir_facts_requests_total", method="put", outcome="refused") >= 1
    assert weir.metric("weir_facts_stored", namespace="approvals") >= 1
    assert weir.metric("weir_facts_write_duration_seconds_count") >= 1
    assert weir.metric("weir_facts_store_bytes") > 0


def test_grants_change_while_it_runs(weir, token):
    deploy, path = token["DEPLOYMENT_SERVICE"], weir.data / "facts/namespaces.toml"
    before = path.read_text()
    put = lambda: rpc(weir, deploy, "put", {"key": "relationships.granted", "value": 1})
    assert "error" in put()
    path.write_text(before + '\n[[grant]]\npattern = "relationships.granted"\nwriters = ["deployment-service"]\n')
    until(lambda: "result" in put())
    path.write_text("[[namespace]]\nnam = 1\n")
    until(lambda: "namespaces.toml:2" in weir.get("/status")[1])
    assert "result" in put()
    path.write_text(before)
    until(lambda: "error" in put())


def until(holds):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_facts_over_tls():
    port = free_port()
    with WeirServer(demo=True, scale=0.001, settings={"WEIR_FACTS_LISTEN": f"127.0.0.1:{port}"}) as own:
        deploy = tokens(own)["DEPLOYMENT_SERVICE"]

        def ask(*arguments):
            command = ["curl", "-sS", "--cacert", str(own.data / "keys/tls.crt"), *arguments]
            return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

        bearer = ["-H", f"Authorization: Bearer {deploy}"]
        put = ask(*bearer, "-X", "PUT", "-d", "1", f"https://localhost:{port}/data/approvals.tls")
        assert put["result"]["version"] > 0
        assert ask(f"https://localhost:{port}/data/approvals.tls")["error"]["code"] == -32003
        admin = ["-H", f"Authorization: Bearer {tokens(own)['FACTS_ADMIN']}"]
        assert ask(*admin, "-d", '{"method":"stats"}', f"https://localhost:{port}/control")["result"]["is_serving"]
        # In clear text there is no answer.
        plain = subprocess.run(["curl", "-sS", f"http://localhost:{port}/data"], capture_output=True, check=False)
        assert plain.returncode != 0
        assert ssl.get_server_certificate(("127.0.0.1", port))


def test_without_facts_all_else_is_as_ever():
    with WeirServer(settings={"WEIR_FACTS_ENABLED": "false"}) as own:
        assert not (own.data / "facts").exists() and not (own.data / "sockets/data.sock").exists()
        assert "off: `facts.enabled` is false" in own.get("/status")[1]


def test_the_only_org_has_facts_and_a_name_that_stays():
    with WeirServer() as own:
        assert "org main" in own.get("/status")[1]
        name = (own.data / "facts/node").read_text()
        own.stop()
        own.start()
        assert (own.data / "facts/node").read_text() == name
        assert name.strip() in facts(own, "status").stdout


@pytest.mark.parametrize(
    "text, expected",
    [
        ("[[namespace]]\nname = 'a.b'\n", "namespaces.toml:2: `a.b` is no namespace"),
        ("[[namespace]]\nname = 'a'\nstrategy = 'newest'\n", "namespaces.toml:3: no strategy is named `newest`"),
    ],
)
def test_a_mistake_in_the_namespaces_stops_the_start(text, expected):
    with WeirServer() as own:
        own.stop()
        (own.data / "facts/namespaces.toml").write_text(text)
        with pytest.raises(RuntimeError) as failure:
            own.start()
        assert expected in str(failure.value)

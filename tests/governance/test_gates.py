"""Refusals of the gates that need settings, a policy or a failure of their own: each with what the client reads, its
count in the metrics and its record in the journal. Gates by the numbers of `crates/pipeline/src/lib.rs`."""

import resource
import shutil
import threading
import time

import psycopg
import pytest
from one_org import OneOrg, eventually
from refusals import count, recorded, refused, refused_and_recorded

#: Runs for minutes, over little data.
SLOW = "SELECT count(*) FROM t a, t b, t c WHERE a.id * b.id + c.id = 7"


#: Runs for seconds.
SECONDS = "SELECT count(*) FROM t a, t b, generate_series(1, 40) AS c(n) WHERE a.id * b.id + c.n = 7"


def fill(boss, rows=3000):
    boss.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    boss.execute(f"INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, {rows}) AS s(g)")


class Busy:
    """A statement that runs meanwhile."""

    def __init__(self, connection, sql=SLOW):
        self.connection, self.error = connection, None
        self.thread = threading.Thread(target=self.run, args=(sql,))

    def run(self, sql):
        try:
            self.connection.execute(sql)
        except psycopg.Error as error:
            self.error = error

    def __enter__(self):
        self.thread.start()
        time.sleep(0.3)
        return self

    def __exit__(self, *_):
        self.connection.cancel_safe()
        self.thread.join()


def test_1_a_policy_that_nobody_confirms():
    with OneOrg(settings={"WEIR_POLICY_GRACE_SECS": "1", "WEIR_POLICY_SYNC_STARTUP_TIMEOUT_SECS": "1"}) as weir:
        boss, url = weir.connect(), weir.issue_key("acme", "boss")
        away = weir.policies.with_suffix(".away")
        shutil.move(weir.policies, away)
        eventually(lambda: weir.get("/readyz")[0] == 503)
        time.sleep(0.1)
        before = count(weir, "proxy_not_ready")
        refused(boss, "SELECT 1", "57P03", "proxy_not_ready", "bundle_version=1; grace_seconds=1")
        with pytest.raises(psycopg.OperationalError, match="code=proxy_not_ready"):
            psycopg.connect(url)
        assert count(weir, "proxy_not_ready") >= before + 2
        shutil.move(away, weir.policies)
        eventually(lambda: weir.get("/readyz")[0] == 200)
        recorded(boss, "boss", "proxy_not_ready")
        events = boss.execute("SELECT agent, code FROM weir.audit WHERE event = 'connection_refused'").fetchall()
        assert set(events) == {("boss", "proxy_not_ready")}


def test_2_tables_that_cannot_be_opened():
    with OneOrg() as weir:
        fill(weir.connect(), 10)
        assert weir.stop() == 0
        manifests = weir.data / "manifests" / "acme"
        for manifest in manifests.iterdir():
            manifest.write_bytes(b"{" + manifest.read_bytes()[1:-20])
        weir.start(until="/livez")
        url = weir.issue_key("acme", "boss")
        eventually(lambda: "tables of org acme are not open" in weir.get("/readyz")[1], 10)
        boss = psycopg.connect(url, autocommit=True)
        before = count(weir, "engine_unavailable")
        refused(boss, "SELECT * FROM t", "57P03", "engine_unavailable", "cause=storage", "operator")
        assert count(weir, "engine_unavailable") == before + 1
        boss.close()
        weir.stop()
        lines = weir.run("audit", "export", "--format", "jsonl", str(weir.data)).stdout.splitlines()
        assert any('"engine_unavailable"' in line and '"refused"' in line for line in lines), lines[-3:]


@pytest.mark.parametrize("status", ["suspended", "delinquent", "cancelled", "pending_payment"])
def test_3_an_org_that_may_not_execute(status):
    with OneOrg() as weir:
        boss = weir.connect()
        (weir.policies / "policy.toml").write_text(f'status = "{status}"\n' + (weir.policies / "policy.toml").read_text())
        eventually(lambda: weir.version() == 2)
        before = count(weir, "org_access_denied")
        refused(boss, "SELECT 1", "28000", "org_access_denied", f"status={status}", "administrator")
        assert count(weir, "org_access_denied") == before + 1
        (weir.policies / "policy.toml").write_text((weir.policies / "policy.toml").read_text().replace(status, "provisioning"))
        eventually(lambda: weir.version() == 3)
        recorded(boss, "boss", "org_access_denied")


def test_4_a_rate_and_a_share():
    with OneOrg(policy="[limits]\nstatements_per_second = 5\nburst = 5\n") as weir:
        boss = weir.connect()

        def many(connection):
            for _ in range(50):
                connection.execute("SELECT 1")

        said = refused(boss, many, "53400", "rate_limit_exceeded", r"statements_per_second=5; burst=5; retry_after_ms=\d+", "retry")
        assert 0 < int(said.message_detail.rsplit("=", 1)[1]) <= 200
        time.sleep(1)
        recorded(boss, "boss", "rate_limit_exceeded")
        weir.change("policy.toml", "[limits]\nmax_concurrent = 2\n")
        fill(boss)
        with Busy(weir.connect()), Busy(weir.connect()):
            before = count(weir, "rate_limit_exceeded")
            refused(boss, "SELECT 1", "53400", "rate_limit_exceeded", "running=2; max_concurrent=2", "wait")
            assert count(weir, "rate_limit_exceeded") == before + 1


def test_5_a_wait_for_a_slot():
    with OneOrg(settings={"WEIR_MAX_CONCURRENT_QUERIES": "1", "WEIR_ADMISSION_WAIT_SECS": "1"}) as weir:
        boss = weir.connect()
        fill(boss)
        with Busy(weir.connect()):
            before = count(weir, "admission_timeout")
            refused(boss, "SELECT 1", "57014", "admission_timeout", "waited_ms=1000", "fewer")
            assert count(weir, "admission_timeout") == before + 1
        eventually(lambda: recorded(boss, "boss", "admission_timeout") is None)


def test_6_a_key_that_was_revoked():
    with OneOrg() as weir:
        boss, watcher = weir.connect(), weir.connect()
        boss.execute("SELECT 1")
        key = weir.run("keys", "list", "--data", str(weir.data)).stdout
        first = boss.info.password.split("_")[2]
        assert first in key
        weir.run("keys", "revoke", "--data", str(weir.data), first)
        eventually(lambda: not answers(boss))
        refused_and_recorded(weir, watcher, "boss", boss, "SELECT 1", "28000", "credential_expired", "", "valid key")


def answers(connection):
    try:
        connection.execute("SELECT 1")
        return True
    except psycopg.Error:
        return False


def test_8_a_tier():
    with OneOrg(policy='[[tiers]]\ntable = "public.t"\ntier = "enterprise"\n') as weir:
        boss = weir.connect()
        for sql in ("CREATE TABLE t (a int)", "SELECT * FROM t"):
            refused_and_recorded(weir, boss, "boss", boss, sql, "0A000", "tier_required", "table=public.t; required=enterprise; tier=free", "upgrade")


FILTERS = """\
CREATE POLICY own ON notes TO reader USING (owner = current_user) WITH CHECK (owner = current_user);
CREATE POLICY all_rows ON notes TO admin USING (true);
CREATE POLICY region ON sales TO reader USING (region = current_setting('agent.region'));
CREATE POLICY all_rows ON sales TO admin USING (true);
CREATE POLICY later ON absent TO reader USING (nothing = 1);
CREATE POLICY all_rows ON absent TO admin USING (true);
"""
MASKS = """\
[[masks]]
table = "public.people"
column = "nmae"
kind = "redact"
unless_roles = ["admin"]
"""


def test_14_row_filters_and_masks_fail_closed():
    """A filter that needs what the principal does not have, and rules that do not fit a table made after them."""
    with OneOrg(policy=MASKS, filters=FILTERS) as weir:
        boss, ana = weir.connect(), weir.connect("ana")
        for table in ("notes (id int, owner text)", "sales (id int, region text)", "absent (id int)", "people (id int, name text)"):
            boss.execute(f"CREATE TABLE {table}")
        boss.execute("INSERT INTO people VALUES (1, 'secret')")

        def check(sql, code, detail, hint=r"\w"):
            said = refused_and_recorded(weir, boss, "ana", ana, sql, "42501", code, detail, hint)
            assert "secret" not in str(said.message_primary)

        check("INSERT INTO notes VALUES (1, 'boss')", "row_check_violation", "", "let you write")
        check("SELECT * FROM sales", "permission_denied", "attribute=region", "policy.toml")
        check("INSERT INTO sales VALUES (1, 'x')", "permission_denied", "attribute=region")
        check("SELECT * FROM absent", "permission_denied", "until the policy is mended")
        check("SELECT * FROM people", "ungoverned_plan", "object=public.people", "status")
        check("SELECT id FROM people", "ungoverned_plan", "object=public.people")
        check("UPDATE people SET id = 2 WHERE name = 'secret'", "ungoverned_plan", "object=public.people")
        with pytest.raises(psycopg.Error):
            ana.execute("INSERT INTO absent VALUES (1)")
        assert boss.execute("SELECT count(*) FROM absent").fetchone() == (0,)
        assert boss.execute("SELECT * FROM people").fetchall() == [(1, "secret")]
        for expected in ("column `nothing` does not exist", "column `nmae` does not exist; did you mean `name`?"):
            eventually(lambda: expected in weir.get("/status")[1] and expected in weir.log.read_text())
        assert weir.metric("weir_policy_misfits", org="acme", kind="mistake") == 2


def test_17_time_memory_temporary_files_and_rows():
    limits = "[limits]\nstatement_timeout_ms = 300\nmax_rows = 1000\n"
    settings = {"WEIR_MEMORY_STATEMENT_LIMIT": "16MiB", "WEIR_SPILL_LIMIT": "8MiB"}
    with OneOrg(policy=limits, settings=settings) as weir:
        boss = weir.connect()
        fill(boss)

        def check(sql, sqlstate, code, detail="", hint=r"\w"):
            refused_and_recorded(weir, boss, "boss", boss, sql, sqlstate, code, detail, hint)

        check("SELECT * FROM t", "54000", "program_limit_exceeded", "max_rows=1000", "LIMIT")
        check(SECONDS, "57014", "statement_timeout", "", "statement_timeout")
        boss.execute("SET statement_timeout = '1h'")
        check(SECONDS, "57014", "statement_timeout", "", "policy")
        weir.change("policy.toml", "")
        boss.execute("INSERT INTO t SELECT g, md5(g::text) FROM generate_series(10000, 250000) AS s(g)")
        check("SELECT array_agg(v) FROM t, generate_series(1, 20)", "53200", "memory_exceeded", "limit", "fewer")
        check("SELECT v, count(*) FROM t GROUP BY v ORDER BY 2 LIMIT 1", "53100", "disk_full", "", "spill")
        deep = "SELECT " + "(" * 20_000 + "1" + ")" * 20_000
        check(deep, "54001", "statement_too_complex", "", r"\w")


def test_22_a_journal_that_cannot_be_written():
    """No record, no answer: reads, writes and connections end, and nothing that was not recorded took effect."""
    with OneOrg() as weir:
        boss, url = weir.connect(), weir.issue_key("acme", "boss")
        boss.execute("CREATE TABLE t (id int)")
        journal = max((weir.data / "audit").glob("*.log"))
        limit = journal.stat().st_size
        resource.prlimit(weir.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        before = count(weir, "audit_unavailable")
        refused(boss, "INSERT INTO t VALUES (1)", "58030", "audit_unavailable", "", "operator")
        refused(boss, "SELECT 1", "58030", "audit_unavailable", "", "operator")
        assert count(weir, "audit_unavailable") >= before + 2
        assert weir.get("/readyz")[0] == 503 and "journal" in weir.get("/readyz")[1]
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
        boss.close()
        weir.kill()
        weir.start()
        assert psycopg.connect(url).execute("SELECT count(*) FROM t").fetchone() == (0,)
        weir.stop()
        assert weir.run("audit", "verify", str(weir.data), check=False).returncode == 0


def test_gates_are_asked_again_when_the_policy_changed_while_a_statement_waited():
    filters = "CREATE POLICY every ON t TO admin USING (true);\nCREATE POLICY some ON t TO reader USING (id <= %d);\n"
    with OneOrg(filters=filters % 100, settings={"WEIR_MAX_CONCURRENT_QUERIES": "1"}) as weir:
        boss, ana, carl = weir.connect(), weir.connect("ana"), weir.connect("ana")
        fill(boss)
        count_rows = "SELECT count(*) FROM t"
        assert ana.execute(count_rows).fetchone() == (100,)
        found = {}

        def ask(name, connection, sql):
            try:
                found[name] = connection.execute(sql).fetchone()
            except psycopg.Error as error:
                found[name] = error.diag.message_detail

        with Busy(boss):
            waiting = [threading.Thread(target=ask, args=("rows", ana, count_rows))]
            waiting[0].start()
            time.sleep(0.3)
            weir.change("row_filters.sql", filters % 7)
        waiting[0].join()
        assert found["rows"] == (7,)
        with Busy(boss):
            waiting = [threading.Thread(target=ask, args=("refused", carl, "DELETE FROM t"))]
            waiting[0].start()
            time.sleep(0.3)
            weir.change("access.cedar", 'forbid (principal in Role::"reader", action == Action::"delete", resource);\n')
        waiting[0].join()
        assert found["refused"].startswith("code=permission_denied; action=delete"), found
        assert boss.execute(count_rows).fetchone() == (3000,)

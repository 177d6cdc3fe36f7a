"""Every refusal of a statement that the demo can provoke, with its SQLSTATE, code, DETAIL and HINT, counted and recorded.

Those that need settings or a policy of their own are in `test_gates.py`.
"""

import threading

import psycopg
import pytest
from refusals import refused, refused_and_recorded

#: agent, statement, SQLSTATE, code, what DETAIL says, what HINT says.
CASES = [
    # 6: statement
    ("ADMIN", "SELEC 1", "42601", "syntax_error", "expected an SQL statement", "position"),
    ("ADMIN", "SELECT * FROM orders FOR UPDATE", "0A000", "unsupported", "", "without it"),
    ("ADMIN", "MERGE INTO orders USING nation ON true WHEN MATCHED THEN DELETE", "0A000", "unsupported", "", "supported: SELECT"),
    ("ADMIN", "SAVEPOINT a", "0A000", "unsupported", "", "roll the whole transaction back"),
    ("ADMIN", "COPY orders FROM '/etc/passwd'", "0A000", "unsupported", "", "FROM STDIN"),
    ("ADMIN", "SET ROLE postgres", "42501", "permission_denied", "", "key"),
    ("ADMIN", "SET agent.desk = 'x'", "42501", "permission_denied", "", "never from a session"),
    ("ADMIN", "EXECUTE nothing", "26000", "invalid_statement_name", "", "PREPARE"),
    ("ADMIN", "FETCH 1 FROM nothing", "34000", "invalid_cursor_name", "", "DECLARE"),
    ("ADMIN", "DECLARE c CURSOR FOR SELECT 1", "25P01", "no_active_transaction", "", "BEGIN"),
    # 7: append-only
    ("ADMIN", "UPDATE decisions SET what = 'b'", "42501", "ledger_violation", "table=public.decisions; action=update", "new row"),
    ("ADMIN", "DELETE FROM decisions", "42501", "ledger_violation", "action=delete", "new row"),
    ("ADMIN", "TRUNCATE decisions", "42501", "ledger_violation", "action=truncate", "new row"),
    ("ADMIN", "DROP TABLE decisions", "42501", "ledger_violation", "action=drop", "new row"),
    # 9: isolation
    ("ADMIN", "SELECT * FROM globex.public.orders", "42501", "schema_violation", "own organisation", r"schema\.name"),
    ("ADMIN", "CREATE TABLE pg_catalog.x (a int)", "42501", "schema_violation", "object=pg_catalog.x", "organisation's own"),
    ("ADMIN", "INSERT INTO weir.audit VALUES (1)", "42501", "schema_violation", "object=weir.audit", "organisation's own"),
    # 10: policy
    ("ANALYST_EU", "DELETE FROM orders", "42501", "permission_denied", "action=delete; object=public.orders; roles=analyst,emea; rule=none", "no rule"),
    ("ANALYST_EU", "INSERT INTO region VALUES (9, 'x', 'y')", "42501", "permission_denied", "action=insert", "ask for one"),
    ("ANALYST_EU", "UPDATE orders SET o_comment = ''", "42501", "permission_denied", "action=update", "ask for one"),
    ("ANALYST_EU", "DROP TABLE orders", "42501", "permission_denied", "action=drop", "ask for one"),
    ("ANALYST_EU", "TRUNCATE orders", "42501", "permission_denied", "action=truncate", "ask for one"),
    ("ANALYST_EU", "CREATE TABLE mine (a int)", "42501", "permission_denied", "action=create", "ask for one"),
    ("ANALYST_EU", "CREATE SCHEMA mine", "42501", "permission_denied", "action=create", "ask for one"),
    ("SUPPORT", "SELECT * FROM part", "42P01", "undefined_table", "schema=public", "information_schema.tables"),
    # 12: quota
    ("BROKE", "SELECT * FROM lineitem", "53400", "quota_exceeded", r"estimate=\d+\.\d+; balance=5\.0; scope=agent; resets=", "larger quota"),
    # 14: row filter
    ("SUPPORT", "SELECT * FROM customer ORDER BY c_name", "42501", "masked_predicate", r"column=public\.customer\.c_name; used_in=ORDER BY", "unmasked"),
    ("SUPPORT", "SELECT 1 FROM customer WHERE c_acctbal > 0", "42501", "masked_predicate", r"column=public\.customer\.c_acctbal", "unmasked"),
    ("ADMIN", "SELECT * FROM no_such_table", "42P01", "undefined_table", "schema=public", "information_schema.tables"),
    ("ADMIN", "SELECT no_such_column FROM orders", "42703", "undefined_column", "", "o_orderkey"),
    ("ADMIN", "SELECT no_such_function(1)", "42883", "undefined_function", "", "nearest"),
    # 17: engine
    ("ADMIN", "SELECT 1/0", "22012", "division_by_zero", "", "nullif"),
    ("ADMIN", "SELECT 'x'::int", "22P02", "invalid_text_representation", "", ""),
    ("ADMIN", "SELECT (SELECT o_orderkey FROM orders)", "21000", "cardinality_violation", "", "LIMIT 1"),
    # 18: commit
    ("ADMIN", "INSERT INTO kept VALUES (1, 'again')", "23505", "unique_violation", "constraint=kept_pkey", "key"),
    ("ADMIN", "INSERT INTO kept VALUES (2, NULL)", "23502", "not_null_violation", "", "value"),
    ("ADMIN", "CREATE TABLE kept (a int)", "42P07", "duplicate_table", "", "IF NOT EXISTS"),
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def tables(weir):
    with psycopg.connect(weir.urls["ADMIN"], autocommit=True) as admin:
        admin.execute("CREATE TABLE decisions (id bigint PRIMARY KEY, what text)")
        admin.execute("INSERT INTO decisions VALUES (1, 'a')")
        admin.execute("CREATE TABLE kept (id int PRIMARY KEY, what text NOT NULL)")
        admin.execute("INSERT INTO kept VALUES (1, 'a')")
        yield
        assert admin.execute("SELECT count(*) FROM decisions").fetchone()[0] == 1
        assert admin.execute("SELECT * FROM kept").fetchall() == [(1, "a")]


@pytest.mark.parametrize("name, sql, sqlstate, code, detail, hint", CASES)
def test_refusal(weir, agent, name, sql, sqlstate, code, detail, hint):
    refused_and_recorded(weir, agent("AUDITOR"), name.lower(), agent(name), sql, sqlstate, code, detail, hint)


@pytest.mark.parametrize("sql, sqlstate, code", [case[1:4] for case in CASES if case[3] not in ("invalid_statement_name", "no_active_transaction")])
def test_refusals_hold_for_prepared_statements(agent, sql, sqlstate, code):
    """Parse, Bind and Execute refuse as the simple protocol does, whichever of them it is."""
    name = next(name for name, text, *_ in CASES if text == sql)
    with pytest.raises(psycopg.Error) as raised:
        agent(name).cursor().execute(sql, prepare=True)
    assert raised.value.diag.sqlstate == sqlstate
    assert f"code={code}" in raised.value.diag.message_detail


def test_quota_tells_estimate_and_balance(agent):
    said = refused(agent("BROKE"), "SELECT * FROM lineitem", "53400", "quota_exceeded")
    figures = dict(item.split("=", 1) for item in said.message_detail.split("; "))
    assert float(figures["estimate"]) > float(figures["balance"]) >= 0


def test_suspended_org_is_refused_at_the_door(weir):
    before = weir.metric("weir_gate_refusals_total", code="org_access_denied")
    with pytest.raises(psycopg.OperationalError) as refusal:
        psycopg.connect(weir.urls["GLOBEX"])
    for said in ("suspended", "code=org_access_denied; status=suspended", "HINT"):
        assert said in str(refusal.value)
    # libpq tries again without TLS.
    assert weir.metric("weir_gate_refusals_total", code="org_access_denied") > before


def test_syntax_errors_have_a_position(agent):
    diagnostic = refused(agent("ADMIN"), "SELECT 'é', FROM WHERE", "42601", "syntax_error")
    assert diagnostic.statement_position


def test_hidden_and_missing_tables_are_the_same(agent):
    """What `support` may not know of does not exist, to the letter."""
    support = agent("SUPPORT")
    missing = refused(support, "SELECT * FROM nothing_here", "42P01", "undefined_table")
    admin = agent("ADMIN")
    admin.execute("CREATE SCHEMA IF NOT EXISTS vault")
    admin.execute("CREATE TABLE IF NOT EXISTS vault.gold (a int)")
    hidden = refused(support, "SELECT * FROM vault.gold", "42P01", "undefined_table")
    assert hidden.message_primary == missing.message_primary.replace("nothing_here", "gold")
    names = support.execute("SELECT table_schema, table_name FROM information_schema.tables").fetchall()
    assert not any(schema == "vault" for schema, _ in names)
    assert not support.execute("SELECT 1 FROM pg_catalog.pg_class WHERE relname = 'gold'").fetchall()


def test_what_policy_refused_is_kept_without_its_text(agent):
    refused(agent("ANALYST_EU"), "DELETE FROM orders WHERE o_comment = 'my secret'", "42501", "permission_denied")
    text, fingerprint = agent("AUDITOR").execute(
        "SELECT sql, fingerprint FROM weir.audit WHERE code = 'permission_denied' ORDER BY record DESC LIMIT 1"
    ).fetchone()
    assert not text and fingerprint


def test_auditors_see_their_own_org_only(agent):
    orgs = agent("AUDITOR").execute("SELECT DISTINCT org FROM weir.audit WHERE org IS NOT NULL").fetchall()
    assert orgs == [("acme",)]


def test_the_second_committer_loses(weir, agent):
    first, second = agent("ADMIN"), agent("ADMIN")
    for connection in (first, second):
        connection.execute("BEGIN")
        connection.execute("UPDATE kept SET what = 'a'")
    first.execute("COMMIT")
    refused_and_recorded(weir, agent("AUDITOR"), "admin", second, "COMMIT", "40001", "serialization_failure", "", "retry")


def test_a_failed_transaction_takes_only_its_end(weir, agent):
    admin, auditor = agent("ADMIN"), agent("AUDITOR")
    admin.execute("BEGIN")
    refused(admin, "SELECT 1/0", "22012", "division_by_zero")
    refused_and_recorded(weir, auditor, "admin", admin, "SELECT 1", "25P02", "failed_transaction", "", "ROLLBACK")
    admin.execute("ROLLBACK")
    assert admin.execute("SELECT 1").fetchone() == (1,)


WRITES = [
    "INSERT INTO kept VALUES (2, 'b')",
    "UPDATE kept SET what = 'b'",
    "DELETE FROM kept",
    "TRUNCATE kept",
    "CREATE TABLE more (a int)",
    "CREATE TABLE more AS SELECT 1 AS a",
    "CREATE VIEW more AS SELECT 1 AS a",
    "CREATE SCHEMA more",
    "DROP TABLE kept",
    "COPY kept FROM STDIN",
]


@pytest.mark.parametrize("sql", WRITES)
@pytest.mark.parametrize("way", ["default", "begin", "set transaction"])
def test_read_only_takes_no_writes(weir, agent, way, sql):
    admin = agent("ADMIN")
    if way == "default":
        admin.execute("SET default_transaction_read_only = on")
        hint = "default_transaction_read_only = off"
    else:
        admin.execute("BEGIN READ ONLY" if way == "begin" else "BEGIN")
        if way == "set transaction":
            admin.execute("SET TRANSACTION READ ONLY")
        hint = "READ WRITE"
    assert admin.execute("SELECT count(*) FROM kept").fetchone() == (1,)
    refused_and_recorded(weir, agent("AUDITOR"), "admin", admin, sql, "25006", "read_only_transaction", "", hint)


def test_default_read_only_holds_for_begin_and_yields_to_read_write(agent):
    admin = agent("ADMIN")
    admin.execute("SET default_transaction_read_only = on")
    admin.execute("BEGIN")
    assert admin.execute("SHOW transaction_read_only").fetchone() == ("on",)
    refused(admin, "DELETE FROM kept", "25006", "read_only_transaction")
    admin.execute("ROLLBACK")
    admin.execute("BEGIN READ WRITE")
    admin.execute("UPDATE kept SET what = 'a' WHERE id = 1")
    admin.execute("COMMIT")
    admin.execute("SET default_transaction_read_only = off")
    admin.execute("UPDATE kept SET what = 'a' WHERE id = 1")


@pytest.mark.parametrize("sql", WRITES[:-1])
def test_default_read_only_holds_in_every_protocol(agent, sql):
    """A multi-statement text and an extended protocol's batch are transactions too, without a BEGIN."""
    admin = agent("ADMIN")
    admin.execute("SET default_transaction_read_only = on")
    refused(admin, f"SELECT 1; {sql}", "25006", "read_only_transaction")
    refused(admin, lambda connection: connection.execute(sql, prepare=True), "25006", "read_only_transaction")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), admin.pipeline():
        admin.execute("SELECT 1")
        admin.execute(sql)


def test_default_read_only_from_the_connection_string(weir):
    url = weir.urls["ADMIN"] + "?options=-c%20default_transaction_read_only%3Don"
    with psycopg.connect(url, autocommit=True) as admin:
        refused(admin, "DELETE FROM kept", "25006", "read_only_transaction")


#: Runs for minutes, over little data.
SLOW = "SELECT count(*) FROM orders a, orders b, orders c WHERE a.o_orderkey * b.o_orderkey + c.o_orderkey = 7"


def test_timeout_and_cancel(weir, agent):
    admin, auditor = agent("ADMIN"), agent("AUDITOR")
    admin.execute("SET statement_timeout = '100ms'")
    refused_and_recorded(weir, auditor, "admin", admin, SLOW, "57014", "statement_timeout", "", "statement_timeout")
    admin.execute("RESET statement_timeout")
    threading.Timer(0.3, admin.cancel_safe).start()
    refused_and_recorded(weir, auditor, "admin", admin, SLOW, "57014", "query_canceled", "", "again")


def test_a_wrong_key_and_an_unknown_agent_get_one_answer(weir):
    url = weir.urls["ADMIN"]
    at = url.rindex("@")
    answers = set()
    for wrong in (url[: at - 4] + "aaaa" + url[at:], url.replace("//admin:", "//nobody:")):
        with pytest.raises(psycopg.OperationalError) as refusal:
            psycopg.connect(wrong)
        answers.add(str(refusal.value).replace("nobody", "admin").split("FATAL")[-1])
    assert len(answers) == 1 and "code=authentication_failed" in answers.pop()

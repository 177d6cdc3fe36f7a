"""Every refusal that a client can meet, with its SQLSTATE, code, DETAIL and HINT."""

import psycopg
import pytest


def refused(connection, sql, sqlstate, code):
    with pytest.raises(psycopg.Error) as refusal:
        connection.execute(sql)
    diagnostic = refusal.value.diag
    assert diagnostic.sqlstate == sqlstate, (sql, diagnostic.sqlstate, diagnostic.message_primary)
    assert f"code={code}" in diagnostic.message_detail, (sql, diagnostic.message_detail)
    return diagnostic


CASES = [
    ("ADMIN", "SELEC 1", "42601", "syntax_error"),
    ("ADMIN", "SELECT * FROM orders FOR UPDATE", "0A000", "unsupported"),
    ("ADMIN", "MERGE INTO orders USING nation ON true WHEN MATCHED THEN DELETE", "0A000", "unsupported"),
    ("ADMIN", "SELECT * FROM globex.public.orders", "42501", "schema_violation"),
    ("ADMIN", "CREATE TABLE pg_catalog.x (a int)", "42501", "schema_violation"),
    ("ADMIN", "INSERT INTO weir.audit VALUES (1)", "42501", "schema_violation"),
    ("ADMIN", "SELECT * FROM no_such_table", "42P01", "undefined_table"),
    ("ADMIN", "SELECT no_such_column FROM orders", "42703", "undefined_column"),
    ("ADMIN", "SELECT no_such_function(1)", "42883", "undefined_function"),
    ("ADMIN", "SELECT 1/0", "22012", "division_by_zero"),
    ("ADMIN", "SET ROLE postgres", "42501", "permission_denied"),
    ("ADMIN", "SET agent.desk = 'x'", "42501", "permission_denied"),
    ("ADMIN", "SET nonsense = 1", "42704", "undefined_object"),
    ("ANALYST_EU", "DELETE FROM orders", "42501", "permission_denied"),
    ("ANALYST_EU", "INSERT INTO region VALUES (9, 'x', 'y')", "42501", "permission_denied"),
    ("ANALYST_EU", "UPDATE orders SET o_comment = ''", "42501", "permission_denied"),
    ("ANALYST_EU", "DROP TABLE orders", "42501", "permission_denied"),
    ("ANALYST_EU", "TRUNCATE orders", "42501", "permission_denied"),
    ("SUPPORT", "SELECT * FROM customer ORDER BY c_name", "42501", "masked_predicate"),
    ("BROKE", "SELECT * FROM lineitem", "53400", "quota_exceeded"),
]


@pytest.mark.parametrize("name, sql, sqlstate, code", CASES)
def test_refusal(agent, name, sql, sqlstate, code):
    diagnostic = refused(agent(name), sql, sqlstate, code)
    assert diagnostic.message_primary
    if sqlstate.startswith(("42501", "53400", "0A000")):
        assert diagnostic.message_hint, sql


def test_quota_tells_estimate_and_balance(agent):
    diagnostic = refused(agent("BROKE"), "SELECT * FROM lineitem", "53400", "quota_exceeded")
    assert "estimate=" in diagnostic.message_detail and "balance=" in diagnostic.message_detail


def test_suspended_org_is_refused_at_the_door(weir):
    with pytest.raises(psycopg.OperationalError) as refusal:
        psycopg.connect(weir.urls["GLOBEX"])
    assert "suspended" in str(refusal.value)


def test_ledgers_are_append_only(agent):
    admin = agent("ADMIN")
    admin.execute("CREATE TABLE IF NOT EXISTS decisions (id bigint PRIMARY KEY, what text)")
    admin.execute("INSERT INTO decisions VALUES (1, 'a')")
    for sql in ("UPDATE decisions SET what = 'b'", "DELETE FROM decisions", "TRUNCATE decisions", "DROP TABLE decisions"):
        refused(admin, sql, "42501", "ledger_violation")
    assert admin.execute("SELECT count(*) FROM decisions").fetchone()[0] == 1


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


def test_refusals_are_journalled(agent):
    refused(agent("ANALYST_EU"), "DELETE FROM orders", "42501", "permission_denied")
    found = agent("AUDITOR").execute(
        "SELECT agent, outcome, code, sql FROM weir.audit WHERE code = 'permission_denied' ORDER BY record DESC LIMIT 1"
    ).fetchone()
    assert found[:3] == ("analyst_eu", "refused", "permission_denied")
    assert not found[3], "a statement that policy refused is kept without its text"


def test_auditors_see_their_own_org_only(agent):
    orgs = agent("AUDITOR").execute("SELECT DISTINCT org FROM weir.audit WHERE org IS NOT NULL").fetchall()
    assert orgs == [("acme",)]

"""Ways around the gates that were tried, each with the door that closes it."""

import time

import psycopg
import pytest


def outcome(connection, sql):
    try:
        return connection.execute(sql).fetchall()
    except psycopg.Error as error:
        return error.sqlstate


def test_failing_constants_tell_nothing_of_hidden_rows(agent):
    """`1/0` behind a condition that only a hidden row meets must answer as behind one that no row meets."""
    analyst, other = agent("ANALYST_EU"), agent("ANALYST_US")
    hidden = other.execute("SELECT min(o_orderkey) FROM orders").fetchone()[0]
    nobody = -1
    for condition in ("o_custkey = 1/0", "o_orderkey = 1/0", "o_totalprice > 1/0", "1/0 = 1"):
        answers = [outcome(analyst, f"SELECT count(*) FROM orders WHERE o_orderkey = {key} AND {condition}") for key in (hidden, nobody)]
        assert answers[0] == answers[1], (condition, answers)


def test_an_object_is_created_under_the_name_that_was_authorised(weir, agent):
    file = weir.data / "policies" / "acme" / "access.cedar"
    rules = file.read_text()
    stated = 'unless {\n  principal in Role::"admin" ||'
    assert stated in rules
    rules = rules.replace(stated, stated + ' principal in Role::"support" ||')
    file.write_text(rules + '\npermit (principal in Role::"support", action == Action::"create", resource in Schema::"sandbox");\n')
    admin, support = agent("ADMIN"), agent("SUPPORT")
    admin.execute("CREATE SCHEMA sandbox")
    for attempt in range(40):
        try:
            support.execute("CREATE TABLE sandbox.mine (a int)")
            break
        except psycopg.errors.InsufficientPrivilege:
            assert attempt < 39
            time.sleep(0.05)
    for path in ("public, sandbox", "missing, public, sandbox"):
        support.execute(f"SET search_path = {path}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            support.execute("CREATE TABLE mine (b int)")
    assert not admin.execute("SELECT 1 FROM information_schema.tables WHERE table_schema = 'public' AND table_name = 'mine'").fetchall()


def test_parameters_without_bound(agent):
    for sql in ("SELECT $100000000000", "SELECT $65536"):
        with pytest.raises(psycopg.errors.ProgramLimitExceeded):
            agent("ADMIN").execute(sql)


def test_a_cursor_ends_with_its_policy(weir, agent):
    analyst = agent("ANALYST_EU")
    analyst.execute("BEGIN")
    analyst.execute("DECLARE c CURSOR FOR SELECT o_orderkey FROM orders")
    assert len(analyst.execute("FETCH 5 FROM c").fetchall()) == 5
    with open(weir.data / "policies" / "acme" / "row_filters.sql", "a") as filters:
        filters.write("\n-- a change\n")
    for _ in range(40):
        time.sleep(0.05)
        try:
            analyst.execute("FETCH 1 FROM c")
        except psycopg.errors.InsufficientPrivilege as refusal:
            assert "earlier policy" in str(refusal)
            return
    pytest.fail("a cursor outlived its policy by two seconds")


def test_an_emptied_filter_file_opens_nothing(weir, agent):
    file = weir.data / "policies" / "acme" / "row_filters.sql"
    filters = file.read_text()
    before = agent("ANALYST_EU").execute("SELECT count(*) FROM orders").fetchone()
    try:
        file.write_text("")
        for _ in range(15):
            time.sleep(0.1)
            assert agent("ANALYST_EU").execute("SELECT count(*) FROM orders").fetchone() == before
    finally:
        file.write_text(filters)


def test_cursors_hold_no_slots(agent):
    """A hundred idle cursors are as many as there are slots; others still get theirs."""
    admin = agent("ADMIN")
    admin.execute("BEGIN")
    for number in range(99):
        admin.execute(f"DECLARE c{number} CURSOR FOR SELECT * FROM lineitem")
    again = agent("ADMIN")
    again.execute("BEGIN")
    for number in range(99):
        again.execute(f"DECLARE c{number} CURSOR FOR SELECT * FROM lineitem")
    assert agent("ANALYST_EU").execute("SELECT 1").fetchone() == (1,)


def test_rows_that_were_read_are_paid_for(agent):
    admin, auditor = agent("ADMIN"), agent("AUDITOR")
    spent = "SELECT credits_settled FROM weir.usage WHERE agent = 'admin'"
    before = auditor.execute(spent).fetchone()[0]
    with admin.transaction():
        admin.execute("DECLARE c CURSOR FOR SELECT * FROM lineitem")
        admin.execute("FETCH 1000 FROM c")
        admin.execute("CLOSE c")
    assert auditor.execute(spent).fetchone()[0] > before

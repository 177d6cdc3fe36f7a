"""DROP drops what was authorised to be dropped, and nothing else."""

import psycopg
import pytest
from one_org import OneOrg

ACCESS = """\
permit (principal in Role::"reader", action in [Action::"select", Action::"drop", Action::"create"], resource in Schema::"hers");
permit (principal in Role::"reader", action == Action::"select", resource in Schema::"theirs");
"""


@pytest.fixture
def weir():
    with OneOrg(access=ACCESS) as server:
        with server.connect() as boss:
            for schema in ("hers", "theirs", "vault"):
                boss.execute(f"CREATE SCHEMA {schema}")
                boss.execute(f"CREATE TABLE {schema}.t (a int)")
            boss.execute("CREATE TABLE hers.u (a int)")
        yield server


def tables(weir):
    with weir.connect() as boss:
        found = boss.execute("SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema IN ('hers', 'theirs', 'vault')")
        return {f"{schema}.{name}" for schema, name in found.fetchall()}


ALL = {"hers.t", "hers.u", "theirs.t", "vault.t"}

#: search path, statement, SQLSTATE or None, what is gone afterwards.
CASES = [
    ("hers", "DROP TABLE t", None, {"hers.t"}),
    ("hers, theirs", "DROP TABLE t", None, {"hers.t"}),
    # The first of the path that has it is meant, authorised or not.
    ("theirs, hers", "DROP TABLE t", "42501", set()),
    ("vault, hers", "DROP TABLE t", "42P01", set()),
    ("nowhere, hers", "DROP TABLE t", None, {"hers.t"}),
    # One that may not be dropped keeps all of them.
    ("public", "DROP TABLE hers.t, theirs.t", "42501", set()),
    ("public", "DROP TABLE hers.t, hers.u", None, {"hers.t", "hers.u"}),
    ("public", "DROP TABLE hers.t, vault.t", "42P01", set()),
    ("public", "DROP TABLE hers.t, hers.missing", "42P01", set()),
    ("public", "DROP TABLE IF EXISTS hers.t, hers.missing", None, {"hers.t"}),
    ("public", "DROP TABLE IF EXISTS hers.missing, theirs.t", "42501", set()),
    ("theirs", "DROP TABLE IF EXISTS missing", None, set()),
    # A schema is an object of its own, and goes empty only.
    ("public", "DROP SCHEMA theirs", "42501", set()),
    ("public", "DROP SCHEMA vault", "3F000", set()),
    ("public", "DROP SCHEMA missing", "3F000", set()),
    ("public", "DROP SCHEMA IF EXISTS missing", None, set()),
    ("public", "DROP SCHEMA hers", "2BP01", set()),
    ("hers", "DROP VIEW t", "42809", set()),
]


@pytest.mark.parametrize("path, sql, sqlstate, gone", CASES)
@pytest.mark.parametrize("in_transaction", [False, True])
def test_only_what_was_authorised(weir, path, sql, sqlstate, gone, in_transaction):
    with weir.connect("ana") as ana:
        ana.execute(f"SET search_path = {path}")
        try:
            if in_transaction:
                ana.execute("BEGIN")
            ana.execute(sql)
            if in_transaction:
                ana.execute("COMMIT")
            assert sqlstate is None
        except psycopg.Error as error:
            assert error.sqlstate == sqlstate, error
    assert tables(weir) == ALL - gone


def test_a_name_made_meanwhile_is_not_dropped(weir):
    """A transaction reads one version: a table that another made since under a name earlier in the path is not meant."""
    with weir.connect() as boss, weir.connect("ana") as ana:
        boss.execute("CREATE SCHEMA early")
        ana.execute("SET search_path = early, hers")
        ana.execute("BEGIN")
        ana.execute("SELECT 1 FROM u")
        boss.execute("CREATE TABLE early.t (a int)")
        ana.execute("DROP TABLE t")
        ana.execute("COMMIT")
        assert tables(weir) == ALL - {"hers.t"}
        assert boss.execute("SELECT count(*) FROM early.t").fetchone() == (0,)


def test_what_a_view_reads_stays(weir):
    with weir.connect() as boss, weir.connect("ana") as ana:
        boss.execute("CREATE VIEW vault.secret_view AS SELECT * FROM hers.t")
        with pytest.raises(psycopg.errors.DependentObjectsStillExist) as refusal:
            ana.execute("DROP TABLE hers.t")
        assert "secret_view" not in str(refusal.value) and "code=dependent_objects" in refusal.value.diag.message_detail
        boss.execute("DROP VIEW vault.secret_view")
        ana.execute("DROP TABLE hers.t")
    assert tables(weir) == ALL - {"hers.t"}

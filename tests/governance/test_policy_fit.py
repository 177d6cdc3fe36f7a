"""A policy knows no tables; the server that takes it does."""

import psycopg
import pytest
from one_org import OneOrg, eventually

FILTERS = """\
CREATE POLICY some ON t TO reader USING (id <= 2);
CREATE POLICY every ON t TO admin USING (true);
"""
MASK = '[[masks]]\ntable = "public.t"\ncolumn = "%s"\nkind = "redact"\nunless_roles = ["admin"]\n'

#: A change, and what is said of it.
MISTAKES = {
    "using": ("row_filters.sql", FILTERS + "CREATE POLICY more ON t TO reader USING (naem = 'x');\n", "row_filters.sql:4: policy `more` on public.t: column `naem` does not exist; did you mean `name`?"),
    "with check": ("row_filters.sql", FILTERS + "CREATE POLICY more ON t FOR INSERT TO reader WITH CHECK (nothing = 'x');\n", "row_filters.sql:4: policy `more` on public.t: column `nothing` does not exist"),
    "another case": ("row_filters.sql", FILTERS + 'CREATE POLICY more ON t TO reader USING ("Name" = \'x\');\n', "column `Name` does not exist; did you mean `name`?"),
    "journal": ("row_filters.sql", FILTERS + "CREATE POLICY own ON weir.audit TO admin USING (agnet = current_user);\n", "on weir.audit: column `agnet` does not exist; did you mean `agent`?"),
    "mask": ("policy.toml", MASK % "nmae", "mask on public.t: column `nmae` does not exist; did you mean `name`?"),
}  # fmt: skip


@pytest.fixture(scope="module")
def weir():
    with OneOrg(filters=FILTERS) as server:
        with server.connect() as boss:
            boss.execute("CREATE TABLE t (id int, name text)")
            boss.execute("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
        yield server


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_change_that_names_no_column_is_refused_and_the_old_policy_stays(weir, mistake):
    file, text, expected = MISTAKES[mistake]
    version, log = weir.version(), weir.log.stat().st_size
    rejected = weir.metric("weir_policy_rejected_total")
    weir.offer(file, text)
    eventually(lambda: weir.metric("weir_policy_rejected_total") == rejected + 1)
    assert expected in weir.log.read_bytes()[log:].decode()
    assert "what stands there now is refused" in weir.get("/status")[1] and expected in weir.get("/status")[1]
    assert weir.version() == version and weir.get("/readyz")[0] == 200
    with weir.connect("ana") as ana:
        assert ana.execute("SELECT name FROM t ORDER BY id").fetchall() == [("a",), ("b",)]
    with weir.connect() as boss:
        detail = boss.execute("SELECT detail FROM weir.audit WHERE event = 'bundle_refused' ORDER BY record DESC LIMIT 1").fetchone()[0]
        assert expected in detail["error"]
    weir.change(file, weir.added[file])


def test_a_table_may_come_later(weir):
    more = "CREATE POLICY some ON later TO reader USING (id = 1);\nCREATE POLICY every ON later TO admin USING (true);\n"
    weir.change("row_filters.sql", FILTERS + more)
    absent = "row_filters.sql:4: policy `some` on public.later: the table does not exist"
    eventually(lambda: absent in weir.get("/status")[1])
    assert weir.metric("weir_policy_misfits", org="acme", kind="absent_table") == 1
    with weir.connect() as boss, weir.connect("ana") as ana:
        boss.execute("CREATE TABLE later (id int)")
        boss.execute("INSERT INTO later VALUES (1), (2)")
        assert ana.execute("SELECT * FROM later").fetchall() == [(1,)]
        eventually(lambda: absent not in weir.get("/status")[1])
        assert weir.metric("weir_policy_misfits", org="acme", kind="absent_table") == 0
        boss.execute("DROP TABLE later")
    weir.change("row_filters.sql", FILTERS)


def test_a_table_made_anew_cannot_hold_up_a_revocation(weir):
    """A mistake that came with the tables, not with the change, keeps no change from being taken."""
    with weir.connect() as boss, weir.connect("ana") as ana:
        boss.execute("CREATE TABLE u (id int)")
        filters = FILTERS + "CREATE POLICY some ON u TO reader USING (id = 1);\nCREATE POLICY every ON u TO admin USING (true);\n"
        weir.change("row_filters.sql", filters)
        boss.execute("DROP TABLE u")
        boss.execute("CREATE TABLE u (other int)")
        boss.execute("INSERT INTO u VALUES (7)")
        mistake = "policy `some` on public.u: column `id` does not exist"
        eventually(lambda: weir.metric("weir_policy_misfits", org="acme", kind="mistake") == 1)
        assert mistake in weir.get("/status")[1] and mistake in weir.log.read_text()
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="does not fit"):
            ana.execute("SELECT * FROM u")
        assert ana.execute("SELECT count(*) FROM t").fetchone() == (2,)
        weir.change("row_filters.sql", "-- moved a line\n" + filters.replace("id <= 2", "id <= 1"))
        assert ana.execute("SELECT count(*) FROM t").fetchone() == (1,)
        boss.execute("DROP TABLE u")
        weir.change("row_filters.sql", FILTERS)


def test_a_start_is_not_kept_by_a_mistake():
    """The tables are known only after the policy: it is taken, told, and what it concerns is refused."""
    with OneOrg(policy=MASK % "name", filters=FILTERS) as weir:
        boss, ana = weir.connect(), weir.connect("ana")
        boss.execute("CREATE TABLE t (id int, name text)")
        boss.execute("INSERT INTO t VALUES (1, 'a')")
        assert weir.stop() == 0
        weir.offer("policy.toml", MASK % "nmae")
        weir.start()
        boss, ana = weir.connect(), weir.connect("ana")
        eventually(lambda: "mask on public.t: column `nmae` does not exist" in weir.get("/status")[1])
        assert boss.execute("SELECT name FROM t").fetchall() == [("a",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="masks a column that it does not have"):
            ana.execute("SELECT name FROM t")
        weir.change("policy.toml", MASK % "name")
        assert ana.execute("SELECT name FROM t").fetchall() == [("***REDACTED***",)]

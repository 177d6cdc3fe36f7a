"""Views: they run with the rights of who asks, tell no names, and carry no row filters or masks of their own."""

import psycopg
import pytest
from one_org import OneOrg, eventually
from refusals import refused_and_recorded

ACCESS = """\
forbid (principal in Role::"reader", action, resource in Schema::"vault");
permit (principal in Role::"reader", action, resource in Schema::"views");
"""
FILTERS = """\
CREATE POLICY some ON orders TO reader USING (id <= 2);
CREATE POLICY every ON orders TO admin USING (true);
"""
MASKS = """\
[[masks]]
table = "public.people"
column = "name"
kind = "redact"
unless_roles = ["admin"]
"""


@pytest.fixture(scope="module")
def weir():
    with OneOrg(policy=MASKS, access=ACCESS, filters=FILTERS) as server:
        with server.connect() as boss:
            for sql in (
                "CREATE SCHEMA vault",
                "CREATE SCHEMA views",
                "CREATE TABLE vault.gold_reserve (karat int)",
                "CREATE TABLE orders (id int PRIMARY KEY, karat int)",
                "INSERT INTO orders SELECT g, g FROM generate_series(1, 5) AS s(g)",
                "CREATE TABLE people (id int, name text)",
                "INSERT INTO people VALUES (1, 'Ann')",
                "CREATE VIEW views.gold AS SELECT * FROM vault.gold_reserve",
                "CREATE VIEW views.gold_again AS SELECT karat + 1 AS more FROM views.gold",
                "CREATE VIEW views.mixed AS SELECT o.id FROM public.orders o WHERE karat IN (SELECT karat FROM vault.gold_reserve)",
                "CREATE VIEW views.open_orders AS SELECT * FROM public.orders",
                "CREATE VIEW views.faces AS SELECT * FROM public.people",
            ):
                boss.execute(sql)
        yield server


@pytest.fixture
def ana(weir):
    with weir.connect("ana") as connection:
        yield connection


@pytest.fixture
def boss(weir):
    with weir.connect() as connection:
        yield connection


HIDDEN = [
    "SELECT * FROM views.gold",
    "SELECT karat FROM views.gold WHERE karat > 1",
    "SELECT nothing FROM views.gold",
    "SELECT * FROM views.gold_again",
    "SELECT * FROM views.mixed",
    "SELECT (SELECT count(*) FROM views.gold)",
    "SELECT 1 FROM orders WHERE id IN (SELECT karat FROM views.gold)",
    "INSERT INTO orders SELECT karat, karat FROM views.gold",
    "CREATE TABLE views.copy AS SELECT * FROM views.gold",
    "CREATE VIEW views.other AS SELECT * FROM views.gold",
    "COPY (SELECT * FROM views.gold) TO STDOUT",
    "EXPLAIN SELECT * FROM views.gold",
]


@pytest.mark.parametrize("sql", HIDDEN)
def test_a_view_tells_no_name_of_what_it_reads(weir, boss, ana, sql):
    said = refused_and_recorded(weir, boss, "ana", ana, sql, "42501", "permission_denied", "", "rights of who asks")
    for text in (said.message_primary, said.message_detail, said.message_hint, said.context or ""):
        assert "vault" not in text and "reserve" not in text, (sql, text)


def test_catalogs_tell_no_definition_of_a_view_that_reads_what_is_hidden(ana):
    shown = []
    for sql in (
        "SELECT * FROM information_schema.views",
        "SELECT * FROM information_schema.columns",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM pg_catalog.pg_views",
        "SELECT * FROM pg_catalog.pg_class",
        "SELECT pg_get_viewdef(oid) FROM pg_catalog.pg_class WHERE relkind = 'v'",
        "SELECT * FROM pg_catalog.pg_namespace",
    ):
        try:
            shown.append(str(ana.execute(sql).fetchall()))
        except psycopg.errors.FeatureNotSupported:
            continue
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction):
            continue
    assert len(shown) >= 4
    for text in shown:
        assert "gold_reserve" not in text and "vault" not in text


def test_a_view_shows_who_asks_their_own_rows_and_masks(boss, ana):
    assert [connection.execute("SELECT count(*) FROM views.open_orders").fetchone()[0] for connection in (boss, ana)] == [5, 2]
    assert [connection.execute("SELECT name FROM views.faces").fetchone()[0] for connection in (boss, ana)] == ["Ann", "***REDACTED***"]


RULES = {
    "row filter": ("row_filters.sql", FILTERS + "CREATE POLICY some ON views.late TO reader USING (id <= 1);\nCREATE POLICY every ON views.late TO admin USING (true);\n"),
    "mask": ("policy.toml", MASKS + '[[masks]]\ntable = "views.late"\ncolumn = "id"\nkind = "null"\n'),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_a_row_filter_or_mask_on_a_view_is_refused(weir, boss, ana, rule):
    """As a change of the policy, and when the view comes after it: then nobody reads it, and it can be dropped."""
    file, text = RULES[rule]
    boss.execute("CREATE VIEW views.late AS SELECT * FROM public.orders")
    before, log = weir.version(), weir.log.stat().st_size
    rejected = weir.metric("weir_policy_rejected_total")
    weir.offer(file, text)
    eventually(lambda: weir.metric("weir_policy_rejected_total") == rejected + 1)
    told = weir.log.read_bytes()[log:].decode()
    assert f"{file}:" in told and "on views.late: it is a view" in told, told
    assert weir.version() == before and ana.execute("SELECT count(*) FROM views.late").fetchone() == (2,)

    boss.execute("DROP VIEW views.late")
    weir.change(file, text + "# again\n" if file.endswith("toml") else text + "-- again\n")
    boss.execute("CREATE VIEW views.late AS SELECT * FROM public.orders")
    try:
        for agent, connection in (("ana", ana), ("boss", boss)):
            if (rule, agent) == ("mask", "boss"):
                continue
            refused_and_recorded(weir, boss, agent, connection, "SELECT * FROM views.late", "0A000", "unsupported", "", "tables that the view reads")
        eventually(lambda: "on views.late: it is a view" in weir.get("/status")[1])
    finally:
        boss.execute("DROP VIEW views.late")
        weir.change(file, weir.added[file])

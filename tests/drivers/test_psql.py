"""psql itself: describe commands tell the truth and show only what the agent may see."""

import re
import subprocess

import pytest


def psql(url, *commands, check=True):
    arguments = [part for command in commands for part in ("-c", command)]
    done = subprocess.run(["psql", "-X", "-v", "ON_ERROR_STOP=1", url, *arguments], capture_output=True, text=True)
    if check:
        assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_tables(weir):
    admin = psql(weir.urls["ADMIN"], r"\dt")
    for table in ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"):
        assert re.search(rf"public \| {table} +\| table", admin), admin
    support = psql(weir.urls["SUPPORT"], r"\dt")
    assert "orders" in support and "partsupp" not in support


def test_describe(weir):
    text = psql(weir.urls["ADMIN"], r"\d lineitem")
    assert re.search(r"l_orderkey +\| bigint +\| +\| not null", text), text
    assert re.search(r"l_quantity +\| numeric\(15,2\)", text), text
    assert '"lineitem_pkey" PRIMARY KEY, btree (l_orderkey, l_linenumber)' in text
    assert "Did not find any relation" in psql(weir.urls["SUPPORT"], r"\d part", check=False)


def test_databases_and_connection(weir):
    text = psql(weir.urls["ANALYST_EU"], r"\l")
    assert "acme" in text and "globex" not in text
    assert 'as user "analyst_eu"' in psql(weir.urls["ANALYST_EU"], r"\conninfo")


#: psql's describe commands: each has an answer, if only an empty list.
COMMANDS = r"""
    \d \d+ \dS \d+|lineitem \d|lineitem_pkey \da \dA \db \dc \dC \dd \dD \ddp \dE \des \det \deu \dew \df \df+ \dF \dFd \dFp \dFt
    \dg \di \di+ \dl \dL \dm \dn \dn+ \do \dO \dp \dP \drds \dRp \dRs \ds \dt \dt+ \dT \dT+ \du \du+ \dv \dv+ \dx \dX \dy
    \l \l+ \z \conninfo \encoding
""".split()


@pytest.mark.parametrize("agent", ["ADMIN", "SUPPORT"])
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_answer(weir, command, agent):
    psql(weir.urls[agent], command.replace("|", " "))


def test_views_schemas_indexes_and_roles(weir):
    url = weir.urls["ADMIN"]
    psql(url, "CREATE SCHEMA shelf", "CREATE TABLE shelf.book (id int PRIMARY KEY, title text)", "CREATE VIEW shelf.title AS SELECT title FROM shelf.book")
    try:
        assert re.search(r"shelf +\| title +\| view +\| admin", psql(url, r"\dv shelf.*"))
        assert re.search(r"shelf +\| admin", psql(url, r"\dn"))
        assert re.search(r"shelf +\| book_pkey +\| index +\| admin +\| book", psql(url, r"\di shelf.*"))
        assert "(0 rows)" in psql(url, r"\df public.*")
        text = psql(url, r"\d+ shelf.book")
        assert re.search(r"title +\| text", text) and "book_pkey" in text, text
        support = weir.urls["SUPPORT"]
        assert "shelf" not in psql(support, r"\dn", r"\dv *.*", r"\di *.*", check=False)
    finally:
        psql(url, "DROP VIEW shelf.title", "DROP TABLE shelf.book", "DROP SCHEMA shelf")
    roles = psql(weir.urls["SUPPORT"], r"\du")
    assert "support" in roles and "broke" not in roles


def test_errors_point_at_the_word(weir):
    text = psql(weir.urls["ADMIN"], "SELECT 1 FRM region", check=False)
    assert "LINE 1:" in text and "^" in text


def test_several_statements_are_one_transaction(weir):
    psql(weir.urls["ADMIN"], "CREATE TABLE once (a int)")
    psql(weir.urls["ADMIN"], "INSERT INTO once VALUES (1); INSERT INTO once VALUES (1/0)", check=False)
    assert "(0 rows)" in psql(weir.urls["ADMIN"], "SELECT * FROM once")
    psql(weir.urls["ADMIN"], "DROP TABLE once")


def test_variables_of_the_session(weir):
    text = psql(weir.urls["ANALYST_US"], "SELECT current_user, session_user, current_database(), current_schema()")
    assert re.search(r"analyst_us +\| analyst_us +\| acme +\| public", text), text

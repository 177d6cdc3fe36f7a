"""The 22 queries: the same answers as DuckDB and PostgreSQL, with the row filters there written by hand as WHERE."""

import psycopg
import pytest
from answers import same_rows
from conftest import ROOT

QUERIES = {path.stem: path.read_text() for path in sorted((ROOT / "bench" / "queries").glob("q*.sql"))}

@pytest.fixture(scope="module")
def admin(weir):
    with psycopg.connect(weir.urls["ADMIN"], autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def analyst(weir):
    with psycopg.connect(weir.urls["ANALYST_EU"], autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("name", QUERIES)
def test_admin_as_duckdb_and_postgres(admin, duck, postgres, name):
    sql = QUERIES[name]
    answer = admin.execute(sql).fetchall()
    assert same_rows(answer, duck.execute(sql).fetchall()) is None, name
    assert same_rows(answer, postgres.execute(sql).fetchall()) is None, name


@pytest.mark.parametrize("name", QUERIES)
def test_analyst_as_filters_by_hand(analyst, duck, postgres, name):
    answer = analyst.execute(QUERIES[name]).fetchall()
    for oracle, schemas in ((duck, ("emea", "main")), (postgres, ("emea", "public"))):
        oracle.execute(f"SET search_path = '{schemas[0]}'")
        try:
            expected = oracle.execute(QUERIES[name]).fetchall()
        finally:
            oracle.execute(f"SET search_path = '{schemas[1]}'")
        assert same_rows(answer, expected) is None, name

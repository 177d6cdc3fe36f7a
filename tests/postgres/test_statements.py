"""Statements that both answer: the same rows, the same column types, the same SQLSTATE. PostgreSQL is the oracle."""

import decimal
import math

import psycopg
import pytest
from different import DIFFERENT
from statements import IN_ZONES, STATEMENTS, ZONES

NUMERIC, FLOATS = 1700, (700, 701)


def outcome(connection, sql):
    """(SQLSTATE, OIDs, rows as the text that was sent)."""
    try:
        cursor = connection.execute(sql)
    except psycopg.Error as error:
        return error.sqlstate, None, None
    if cursor.description is None:
        return None, None, cursor.rowcount
    result = cursor.pgresult
    rows = [[result.get_value(row, column) for column in range(result.nfields)] for row in range(result.ntuples)]
    if "order by" not in sql.lower():
        rows.sort(key=lambda row: [(value is None, number(value)) for value in row])
    return None, [column.type_code for column in cursor.description], rows


def number(value):
    """Rows without an order are compared in one; numbers are written in more than one way."""
    try:
        return (0, round(float(value), 6), "")
    except (TypeError, ValueError):
        return (1, 0, (value or b"").decode())


def same(left, right, oid):
    if left is None or right is None or oid not in (NUMERIC, *FLOATS):
        return left == right
    if oid == NUMERIC:
        left, right = decimal.Decimal(left.decode()), decimal.Decimal(right.decode())
        return abs(left - right) <= max(abs(right), 1) * decimal.Decimal("1e-11")
    left, right = float(left), float(right)
    close = math.isclose(left, right, rel_tol=1e-6 if oid == 700 else 1e-14)
    return close or (math.isnan(left) and math.isnan(right))


def difference(weir, oracle, sql):
    """None where both say the same."""
    ours, theirs = outcome(weir, sql), outcome(oracle, sql)
    if ours[0] != theirs[0]:
        return f"SQLSTATE {ours[0]}, PostgreSQL {theirs[0]}"
    if ours[1] != theirs[1]:
        return f"types {ours[1]}, PostgreSQL {theirs[1]}"
    if ours[1] is None:
        return None if ours[2] == theirs[2] else f"{ours[2]} rows, PostgreSQL {theirs[2]}"
    if len(ours[2]) != len(theirs[2]):
        return f"{len(ours[2])} rows, PostgreSQL {len(theirs[2])}"
    for left, right in zip(ours[2], theirs[2]):
        if not all(same(a, b, oid) for a, b, oid in zip(left, right, ours[1])):
            return f"{left}, PostgreSQL {right}"
    return None


def test_the_table_is_large_and_without_doubles():
    assert len(STATEMENTS) >= 400
    assert len(set(STATEMENTS)) == len(STATEMENTS)
    assert set(DIFFERENT) <= set(STATEMENTS) | set(IN_ZONES)


@pytest.mark.parametrize("sql", STATEMENTS)
def test_as_postgresql(weir, oracle, sql):
    found = difference(weir, oracle, sql)
    if sql in DIFFERENT:
        assert found is not None, f"no longer different: take it off the list ({DIFFERENT[sql]})"
    else:
        assert found is None, f"{sql}\n{found}"


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("sql", IN_ZONES)
def test_in_a_time_zone(weir, oracle, sql, zone):
    for connection in (weir, oracle):
        connection.execute(f"SET TimeZone = '{zone}'")
    try:
        found = difference(weir, oracle, sql)
        if sql in DIFFERENT:
            return
        assert found is None, f"{zone}: {sql}\n{found}"
    finally:
        for connection in (weir, oracle):
            connection.execute("SET TimeZone = 'UTC'")

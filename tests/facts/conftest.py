import pytest
from facts_client import tokens
from weir_server import WeirServer


@pytest.fixture(scope="session")
def weir():
    with WeirServer(demo=True, scale=0.001) as server:
        yield server


@pytest.fixture(scope="session")
def token(weir):
    """The demo's tokens by name."""
    return tokens(weir)

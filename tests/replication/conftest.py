import pytest
from network import Network
from nodes import BROKER


@pytest.fixture(scope="session")
def network():
    # The broker's host is in the left half as well.
    with Network(hosts=5, left=2) as network:
        network.hosts = BROKER
        network.add(BROKER, "left")
        yield network

"""What the tests of both simulated services share."""

import pytest

from helpers.cloud.account import connect, disconnect


@pytest.fixture(scope="module")
def connected():
    """A simulated account, forgotten after the module."""
    yield connect("simulated", "eu-central-1")
    disconnect()

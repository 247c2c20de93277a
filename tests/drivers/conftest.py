"""The nodes and the proxy for the drivers' round trips: the pair 4.1 to 5.0 of tests/pairs."""

import pathlib
import signal
import sys

import pytest

_TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[1:1] = [str(_TESTS), *(str(_TESTS / name) for name in ("cluster", "wire", "pairs"))]

import checklist as shown  # noqa: E402
from checklist import checklist  # noqa: E402,F401
from stand import Stand  # noqa: E402


def pytest_configure(config):
    # So that the nodes are stopped when the run is told to end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    shown.configure(config)


@pytest.fixture(scope="session")
def stand(tmp_path_factory):
    stand = Stand(tmp_path_factory.mktemp("drivers"))
    try:
        stand.become("4.1-5.0")
        yield stand
    finally:
        stand.close()

"""One suite for each pair of Cassandra versions, in each protocol version that both of them speak.

Tests take the fixture `link`, a pair and a version, and most of them `primary`. Nodes are started once and serve all
pairs they belong to, with no more than two alive; the tables of schema.py are made on both clusters once for each pair.
CQLFERRY_PAIRS="3.11-5.0 5.0-4.1" chooses among the pairs.
"""

import os
import pathlib
import signal
import sys

import pytest

_TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[1:1] = [str(_TESTS), str(_TESTS / "cluster"), str(_TESTS / "wire")]

import checklist as shown  # noqa: E402
from checklist import checklist  # noqa: E402,F401
from stand import PAIRS, SPEAKS, SPECIAL, Link, Stand, lines_of  # noqa: E402


def chosen_pairs():
    wanted = os.environ.get("CQLFERRY_PAIRS", "").split() or PAIRS
    unknown = [pair for pair in wanted if pair not in PAIRS]
    if unknown:
        raise pytest.UsageError("CQLFERRY_PAIRS: %s is none of %s" % (unknown[0], ", ".join(PAIRS)))
    return [pair for pair in PAIRS if pair in wanted]


def combinations(wanted):
    return [(pair, version) for pair in chosen_pairs() if pair in wanted
            for version in range(3, min(SPEAKS[line] for line in lines_of(pair)) + 1)]


def pytest_generate_tests(metafunc):
    if "combination" in metafunc.fixturenames:
        wanted = getattr(metafunc.module, "PAIRS", [pair for pair in PAIRS if pair not in SPECIAL])
        found = combinations(wanted)
        metafunc.parametrize("combination", found, ids=["%s-v%d" % c for c in found], indirect=True, scope="session")


def pytest_configure(config):
    # So that the nodes are stopped when the run is told to end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    shown.configure(config)


@pytest.fixture(scope="session")
def stand(tmp_path_factory):
    stand = Stand(tmp_path_factory.mktemp("pairs"))
    try:
        yield stand
    finally:
        stand.close()


@pytest.fixture(scope="session")
def combination(request, stand):
    pair, version = request.param
    stand.become(pair)
    return stand, version


@pytest.fixture
def link(request, combination):
    link = Link(*combination, request.node)
    yield link
    link.close()


@pytest.fixture
def key(link):
    return link.new_key()


@pytest.fixture(params=["origin", "target"])
def primary(request):
    return request.param

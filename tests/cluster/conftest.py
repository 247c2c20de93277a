"""Two real Cassandra nodes for a whole run: origin 4.1 and target 5.0.

A test module says with `pytestmark = pytest.mark.pair(NAME)` how the two are configured, or a test is parametrized by
`pair` (indirect, scope module). Tests are run in the order of PAIRS, and a node is restarted, with its data, only where
its configuration changes. More than two nodes never run.
"""

import itertools
import pathlib
import signal
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))

import checklist as shown
import clients
import ferry as ferry_module
from checklist import checklist
from pair import PAIRS, Pair


def pair_of(item):
    callspec = getattr(item, "callspec", None)
    if callspec and "pair" in callspec.params:
        return callspec.params["pair"]
    mark = item.get_closest_marker("pair")
    return mark.args[0] if mark else None


def pytest_configure(config):
    # So that the nodes are stopped when the run is told to end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    shown.configure(config)
    config.addinivalue_line("markers", "pair(name): how the two clusters are configured, see PAIRS in pair.py")


def pytest_collection_modifyitems(items):
    order = list(PAIRS)
    for item in items:
        if pair_of(item) not in order:
            raise pytest.UsageError("%s: needs pytest.mark.pair with one of %s" % (item.nodeid, ", ".join(order)))
    items.sort(key=lambda item: order.index(pair_of(item)))


@pytest.fixture(scope="session")
def both_clusters(tmp_path_factory):
    pair = Pair(tmp_path_factory.mktemp("clusters"))
    try:
        yield pair
    finally:
        for side in pair.sides:
            side.stop(for_good=True)


@pytest.fixture(scope="module")
def pair(request, both_clusters):
    both_clusters.become(getattr(request, "param", None) or pair_of(request.node))
    return both_clusters


def _ferries(tmp_path_factory):
    """A function that starts proxies, and at the end makes sure that each of them ends cleanly."""
    started = []

    def start(*arguments, launch_only=False, may_fail=False, **options):
        proxy = ferry_module.Ferry(tmp_path_factory.mktemp("ferry"), *arguments, **options)
        started.append((proxy, may_fail))
        if launch_only:
            proxy.launch()
        else:
            proxy.start()
        return proxy

    yield start
    for proxy, _ in started:
        proxy.stop()
    for proxy, may_fail in started:
        # A crash is never allowed (a negative status is a signal), an exit with an error only where a test wants one.
        assert proxy.status == 0 or may_fail and proxy.status > 0, \
            "the proxy ended with status %r; its log:\n%s" % (proxy.status, proxy.log())
        assert proxy.reports() == []


@pytest.fixture
def start_ferry(request, tmp_path_factory):
    for start in _ferries(tmp_path_factory):
        def start_and_note(*arguments, **options):
            proxy = start(*arguments, **options)
            shown.note_profile(request.node, proxy.profile)
            return proxy
        yield start_and_note


@pytest.fixture(autouse=True)
def note_shared_ferry(request):
    yield
    if "ferry" in request.node.funcargs:
        shown.note_profile(request.node, request.node.funcargs["ferry"].profile)


@pytest.fixture(scope="module")
def ferry(pair, tmp_path_factory):
    """The proxy most tests share: ZDM_* variables, primary origin."""
    ferries = _ferries(tmp_path_factory)
    yield next(ferries)(pair.environment())
    next(ferries, None)


@pytest.fixture
def connect(request):
    """Opens driver sessions that end with the test."""
    opened = []

    def connect_to(ferry, **options):
        cluster = clients.new_cluster(ferry.address, ferry.port, **options)
        opened.append(cluster)
        return cluster.connect()

    yield connect_to
    for cluster in opened:
        cluster.shutdown()


_numbers = itertools.count(1)


@pytest.fixture
def keyspace(pair):
    """A keyspace that is new on both clusters."""
    name = "ks%d" % next(_numbers)
    pair.execute("CREATE KEYSPACE %s WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}" % name)
    yield name
    pair.execute("DROP KEYSPACE IF EXISTS %s" % name)

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
import nodes
from checklist import checklist

LINES = {"origin": "4.1", "target": "5.0"}

# name: (auth, TLS) of origin and of target; TLS is None, "one-way" or "mutual".
PAIRS = {
    "migration": ((False, None), (True, "one-way")),
    "both-auth": ((True, "mutual"), (True, "mutual")),
    "origin-auth": ((True, None), (False, None)),
    "open": ((False, None), (False, None)),
}

# The roles of the applications, superusers so that no test needs grants. Each works on its own cluster only.
LOGINS = {"origin": ("oskar", "oskar_pw"), "target": ("tamara", "tamara_pw")}


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
    config.addinivalue_line("markers", "pair(name): how the two clusters are configured, see PAIRS in conftest.py")


def pytest_collection_modifyitems(items):
    order = list(PAIRS)
    for item in items:
        if pair_of(item) not in order:
            raise pytest.UsageError("%s: needs pytest.mark.pair with one of %s" % (item.nodeid, ", ".join(order)))
    items.sort(key=lambda item: order.index(pair_of(item)))


class Side:
    """One cluster: its node and a driver session straight to it."""

    def __init__(self, name, directory):
        self.name = name
        self.node = nodes.Node(directory / name, LINES[name], {"origin": "127.0.0.2", "target": "127.0.0.3"}[name],
                               cluster=name)
        self.login = None
        self._certificates = directory / (name + "-certs")
        self._shape = None
        self._cluster = None
        self._session = None

    def launch_as(self, shape):
        """Stops the node and launches it in another shape, unless it has that already; ready() waits for it."""
        if shape == self._shape:
            return
        self.stop()
        auth, tls = self._shape = shape
        self.node.auth = auth
        self.node.tls = nodes.NodeTls(self._certificates, mutual=tls == "mutual") if tls else None
        self.node.launch()

    def ready(self):
        if self._cluster:
            return
        self.node.wait()
        self._cluster = clients.direct(self.node)
        self._session = self._cluster.connect()
        self.login = LOGINS[self.name] if self.node.auth else None
        if self.login:
            self._session.execute("CREATE ROLE IF NOT EXISTS %s WITH PASSWORD = '%s' AND LOGIN = true AND "
                                  "SUPERUSER = true" % self.login)

    def execute(self, text, values=None):
        return self._session.execute(text, values)

    def rows(self, text, values=None):
        return clients.rows(self.execute(text, values))

    def users(self):
        """The names under which clients other than this harness are connected to the node."""
        return {row.username for row in self.execute("SELECT username FROM system_views.clients")
                if row.username != self.node.username}

    def stop(self, for_good=False):
        if self._cluster:
            self._cluster.shutdown()
            self._cluster = None
        self.node.stop(kill=for_good)
        self._shape = None


class Pair:
    """Both clusters, and the ways to configure a proxy for them."""

    def __init__(self, directory):
        self.origin = Side("origin", directory)
        self.target = Side("target", directory)
        self.sides = (self.origin, self.target)

    def become(self, name):
        for side, shape in zip(self.sides, PAIRS[name]):
            side.launch_as(shape)
        for side in self.sides:
            side.ready()

    def execute(self, text):
        for side in self.sides:
            side.execute(text)

    def rows(self, text):
        """The rows of a query, which must be equal on both clusters."""
        origin, target = self.origin.rows(text), self.target.rows(text)
        assert origin == target, "the clusters differ: %s" % text
        return origin

    def environment(self, **more):
        """The ZDM_* variables for this pair; `more` are further ones without their prefix."""
        variables = {}
        for side in self.sides:
            prefix = "ZDM_%s_" % side.name.upper()
            user, password = side.login or ("unused", "unused")
            variables.update({prefix + "CONTACT_POINTS": side.node.address, prefix + "PORT": side.node.port,
                              prefix + "USERNAME": user, prefix + "PASSWORD": password})
            if side.node.tls:
                variables[prefix + "TLS_SERVER_CA_PATH"] = side.node.tls.ca
                if side.node.tls.mutual:
                    variables[prefix + "TLS_CLIENT_CERT_PATH"] = side.node.tls.client_cert
                    variables[prefix + "TLS_CLIENT_KEY_PATH"] = side.node.tls.client_key
        variables.update({"ZDM_" + name: value for name, value in more.items()})
        return variables

    def ini(self, **more):
        """The same as sections of an INI file; `more` has further settings by section."""
        sections = {}
        for side in self.sides:
            settings = {"contact_points": side.node.address, "port": side.node.port}
            if side.login:
                settings.update(username=side.login[0], password=side.login[1])
            if side.node.tls:
                settings.update(tls="full", tls_ca=side.node.tls.ca)
                if side.node.tls.mutual:
                    settings.update(tls_cert=side.node.tls.client_cert, tls_key=side.node.tls.client_key)
            sections[side.name] = settings
        for section, settings in more.items():
            sections.setdefault(section, {}).update(settings)
        return sections

    @property
    def client_login(self):
        """What ZDM's matrix wants a client to send: the target's credentials where the target asks for any."""
        return self.target.login or self.origin.login


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

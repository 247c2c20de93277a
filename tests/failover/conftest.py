"""Four real Cassandra nodes: origin (4.1) and target (5.0), each of two nodes that both hold everything.

The nodes are those of tests/cluster/nodes.py, joined to one cluster by a common seed; node 1 is the contact point.
"""

import pathlib
import signal
import subprocess
import sys

import pytest
from cassandra import ReadTimeout, Unavailable
from cassandra.cluster import ExecutionProfile
from cassandra.policies import WhiteListRoundRobinPolicy
from cassandra.query import SimpleStatement

_TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[1:1] = [str(_TESTS), str(_TESTS / "cluster")]

import clients  # noqa: E402
import ferry as ferry_module  # noqa: E402
import nodes  # noqa: E402

KEYSPACE = "CREATE KEYSPACE failover WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 2}"
TABLE = "CREATE TABLE failover.t (k int PRIMARY KEY, v int)"
SETTINGS = {
    # Hints would keep a node busy that has just come back, and are not what is tested here.
    "hinted_handoff_enabled": False,
    "num_tokens": 1,
}


# Nodes that are killed must know the schema when they come back; the other suites save that time.
DURABLE = ["-Dcassandra.unsafesystem=false", "-Dcassandra.test.flush_local_schema_changes=true"]


def pytest_configure(config):
    # So that the nodes are stopped when the run is told to end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


class Cluster:
    """Two nodes. `second` is the one that tests do harm to."""

    def __init__(self, name, line, directory, addresses):
        self.name = name
        seeds = "%s:%d" % (addresses[0], nodes.STORAGE_PORT)
        self.first, self.second = [
            nodes.Node(directory / ("%s%d" % (name, i)), line, address, cluster=name, fallback=False,
                       options=[*DURABLE, "-Dcassandra.jmx.local.port=%d" % nodes.free_port()], settings={
                           **SETTINGS, "initial_token": str(token),
                           "seed_provider": [{"class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                                              "parameters": [{"seeds": seeds}]}]})
            for i, (address, token) in enumerate(zip(addresses, (0, -2 ** 63 + 1)), 1)]

    def start(self):
        self.first.start()
        self.second.start()
        # A table that is made before the nodes know each other reaches the second one a minute later.
        for node in (self.first, self.second):
            self._until(node, "SELECT peer FROM system.peers")
        with self.direct() as session:
            session.execute(KEYSPACE)
            session.execute(TABLE)
        self._until(self.second, "SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'failover'")

    def _until(self, node, query):
        """Returns when the node answers with a row."""
        with self._direct(node) as session:
            ferry_module.eventually("a row of %s at %s" % (query, node.address),
                                    lambda: bool(list(session.execute(query))), timeout=120)

    def stop(self):
        for node in (self.second, self.first):
            node.stop(kill=True)

    @staticmethod
    def _direct(node):
        # Not to the other one, too.
        profile = ExecutionProfile(load_balancing_policy=WhiteListRoundRobinPolicy([node.address]), request_timeout=30)
        return clients.connected(node.address, node.port, protocol_version=4, profile=profile,
                                 schema_metadata_enabled=False, token_metadata_enabled=False)

    def direct(self):
        """A driver session straight to the first node."""
        return self._direct(self.first)

    def rows(self, level):
        """
        What the replicas of this level have together. A write is answered when one has it, and the other one may never get
        it: the node that takes it is killed, or has just come back and does not know its neighbour yet.
        """
        statement = SimpleStatement("SELECT k, v FROM failover.t", consistency_level=level)
        with self.direct() as session:
            def read():
                try:
                    return clients.rows(session.execute(statement))
                except (ReadTimeout, Unavailable):  # the nodes do not know each other again
                    return None
            return ferry_module.eventually("rows of all replicas of %s" % self.name, read)

    def decommission(self):
        """Tells the second node to leave; returns when it has."""
        option = [o for o in self.second._options if "jmx.local.port" in o][0]
        command = [nodes.find_java(self.second.line), "@%s" % (self.second.directory / "java.args"), "-cp",
                   "%s/*" % nodes.fetch(self.second.line), "-Djava.rmi.server.hostname=127.0.0.1",
                   "-Dlogback.configurationFile=file:%s/logback.xml" % self.second.directory,
                   "-Dcassandra.config=file://%s/cassandra.yaml" % self.second.directory,
                   "org.apache.cassandra.tools.NodeTool", "-h", "127.0.0.1", "-p", option.split("=")[1],
                   "decommission", "--force"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def clusters(tmp_path_factory):
    directory = tmp_path_factory.mktemp("failover")
    made = [Cluster("origin", "4.1", directory, ("127.0.0.2", "127.0.0.12")),
            Cluster("target", "5.0", directory, ("127.0.0.3", "127.0.0.13"))]
    try:
        for cluster in made:
            cluster.start()
        yield dict(zip(("origin", "target"), made))
    finally:
        for cluster in made:
            cluster.stop()


@pytest.fixture
def ferry(clusters, tmp_path):
    ini = {
        "proxy": {"workers": 2, "heartbeat_timeout": "2s", "heartbeat_retry_interval_max": "2s"},
        "routing": {"primary": "origin"},
        "log": {"level": "debug"},
    }
    for name, cluster in clusters.items():
        ini[name] = {"contact_points": cluster.first.address, "port": cluster.first.port}
    running = ferry_module.Ferry(tmp_path / "ferry", ini=ini)
    running.start()
    try:
        yield running
        assert not running.reports()
    finally:
        running.stop()

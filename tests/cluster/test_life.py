"""A proxy's start before its clusters, the loss of one, and its end under load."""

import socket
import threading
import time

import pytest
from cassandra import ConsistencyLevel
from cassandra.cluster import ExecutionProfile
from cassandra.policies import RetryPolicy, RoundRobinPolicy
from cassandra.query import SimpleStatement

import clients
import nodes
from ferry import eventually

pytestmark = pytest.mark.pair("migration")


class Relay:
    """Passes connections on to a node, from another port of the node's own address; can be cut and mended."""

    def __init__(self, node):
        self._node = node
        self.port = nodes.free_port(node.address)
        self._listening = None
        self._open = []

    def mend(self):
        self._listening = socket.create_server((self._node.address, self.port))
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def _accept(self, listening):
        while True:
            try:
                near, _ = listening.accept()
                far = socket.create_connection((self._node.address, self._node.port))
            except OSError:
                return
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source, sink):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        if self._listening:
            # shutdown wakes the accept that waits in the other thread, close alone does not.
            self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            self._listening = None
        for end in self._open:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()
        self._open = []


@pytest.fixture
def relay(pair):
    relay = Relay(pair.target.node)
    yield relay
    relay.cut()


def test_waits_for_a_cluster_that_is_not_there_yet(pair, start_ferry, connect, relay):
    ferry = start_ferry(pair.environment(TARGET_PORT=relay.port), launch_only=True)
    eventually("a message about the unreachable target", lambda: "target" in ferry.log().lower())
    assert ferry.get("/health/liveness") == (200, "OK")
    assert ferry.readiness() == (503, {"OriginStatus": None, "TargetStatus": None, "Status": "STARTUP"})
    with pytest.raises(OSError):
        socket.create_connection((ferry.address, ferry.port), 2)
    relay.mend()
    ferry.wait_ready()
    session = connect(ferry, login=pair.client_login)
    assert session.execute("SELECT cluster_name FROM system.local").one().cluster_name == "origin"


def test_end_while_waiting_for_a_cluster(pair, start_ferry, relay):
    ferry = start_ferry(pair.environment(TARGET_PORT=relay.port), launch_only=True)
    eventually("a message about the unreachable target", lambda: "target" in ferry.log().lower())
    assert ferry.stop() == 0
    assert "shutdown_timeout (" not in ferry.log(), "nobody's requests were waited for"


def test_lost_cluster_comes_back(pair, start_ferry, connect, keyspace, relay):
    relay.mend()
    ferry = start_ferry(pair.environment(TARGET_PORT=relay.port))
    session = connect(ferry, login=pair.client_login)
    session.execute("CREATE TABLE %s.t (id int PRIMARY KEY)" % keyspace)
    relay.cut()
    eventually("unready", lambda: ferry.readiness()[0] == 503)
    assert ferry.readiness()[1]["TargetStatus"]["Status"] == "DOWN"
    assert ferry.readiness()[1]["OriginStatus"]["Status"] == "UP"
    with pytest.raises(Exception):
        session.execute("INSERT INTO %s.t (id) VALUES (1)" % keyspace, timeout=15)
    relay.mend()
    eventually("ready again", lambda: ferry.readiness()[0] == 200)

    def writes():
        try:
            session.execute("INSERT INTO %s.t (id) VALUES (2)" % keyspace)
        except Exception:  # noqa: B902 (whatever the driver says while it reconnects)
            return False
        return True

    eventually("the driver's session writes again", writes)
    for side in pair.sides:
        assert (2,) in side.rows("SELECT id FROM %s.t" % keyspace)


class Load:
    """Writers that note what they were told about each key."""

    def __init__(self, session, table, writers=8):
        self._session = session
        self._insert = session.prepare("INSERT INTO %s (id) VALUES (?)" % table)
        self._insert.is_idempotent = True
        self._insert.consistency_level = ConsistencyLevel.ONE
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self.written = []
        self.failed = []
        self._next = 0
        self._threads = [threading.Thread(target=self._write) for _ in range(writers)]
        for thread in self._threads:
            thread.start()

    def _write(self):
        while not self._ending.is_set():
            with self._lock:
                key = self._next
                self._next += 1
            try:
                self._session.execute(self._insert, (key,), timeout=60)
                self.written.append(key)
            except Exception as error:  # noqa: B902 (every kind of failure counts)
                self.failed.append((key, error))
                time.sleep(0.02)

    def end(self, within):
        self._ending.set()
        deadline = time.monotonic() + within
        for thread in self._threads:
            thread.join(max(0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)


def keys_on(side, table):
    return {row[0] for row in side.rows("SELECT id FROM %s" % table)}


def test_sigterm_under_load_answers_every_request(pair, start_ferry, connect, keyspace):
    table = keyspace + ".t"
    pair.execute("CREATE TABLE %s (id int PRIMARY KEY)" % table)
    ferry = start_ferry(pair.environment())
    load = Load(connect(ferry, login=pair.client_login), table)
    eventually("some writes", lambda: len(load.written) > 200)
    ferry.signal()
    assert ferry.wait_end() == 0
    assert "shutdown_timeout (" not in ferry.log(), "requests were cut off"
    # A request that had got no answer and no closed connection would keep its writer for the driver's 60 seconds.
    assert load.end(within=40), "some requests got no answer"
    assert not [error for _, error in load.failed if type(error).__name__ == "OperationTimedOut"]
    for side in pair.sides:
        assert set(load.written) <= keys_on(side, table)


class NextHost(RetryPolicy):
    """What a driver does with a proxy that is going: the same request to the next one."""

    def on_request_error(self, query, consistency, error, retry_num):
        return (self.RETRY_NEXT_HOST, None) if retry_num < 3 else (self.RETHROW, None)


def test_draining_one_of_two_proxies_fails_no_request(pair, start_ferry, connect, keyspace):
    table = keyspace + ".t"
    pair.execute("CREATE TABLE %s (id int PRIMARY KEY)" % table)
    first = nodes.free_address("127.0.0.4", [14002, 14001])
    second = nodes.free_address("127.0.0.%d" % (int(first.rsplit(".", 1)[1]) + 1), [14002, 14001])
    ferries = [start_ferry(pair.environment(PROXY_TOPOLOGY_ADDRESSES="%s,%s" % (first, second),
                                            PROXY_TOPOLOGY_INDEX=index), address=address, port=14002, http_port=14001)
               for index, address in enumerate((first, second))]
    profile = ExecutionProfile(load_balancing_policy=RoundRobinPolicy(), retry_policy=NextHost(), request_timeout=60)
    session = connect(ferries[0], login=pair.client_login, profile=profile)
    eventually("connections to both proxies", lambda: {host.address for host in session.get_pool_state()} ==
               {first, second})
    load = Load(session, table)
    eventually("some writes", lambda: len(load.written) > 200)
    assert ferries[1].stop() == 0
    seen = len(load.written)
    eventually("writes go on by the other proxy", lambda: len(load.written) > seen + 100)
    assert load.end(within=60)
    assert load.failed == []
    for side in pair.sides:
        assert set(load.written) <= keys_on(side, table)


def test_readiness_fails_first(pair, start_ferry, connect, keyspace):
    """During drain_delay the proxy serves on, so that a load balancer can turn away from it."""
    ferry = start_ferry(ini=pair.ini(proxy={"drain_delay": "8s"}))
    session = connect(ferry, login=pair.client_login)
    ferry.signal()
    eventually("unready", lambda: ferry.readiness()[0] == 503)
    statement = SimpleStatement("SELECT count(*) FROM system_schema.keyspaces")
    assert session.execute(statement).one()[0] > 0
    assert ferry.wait_end() == 0
    assert clients.connect_error(ferry.address, ferry.port, pair.client_login)


def test_a_second_signal_ends_it_at_once(pair, start_ferry):
    ferry = start_ferry(ini=pair.ini(proxy={"drain_delay": "1h"}), may_fail=True)
    ferry.signal()
    # Two signals that come before the first one is taken are one.
    eventually("unready", lambda: ferry.readiness()[0] == 503)
    ferry.signal()
    ferry.wait_end()

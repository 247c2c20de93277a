"""What applications notice when a node dies, hangs, comes back or leaves while they read and write: nothing.

The load is drivers that retry nothing themselves: prepared reads, and writes with a timestamp of the driver's, which may
be repeated. So each error would reach the application. Judged by errors, and by when the last request was late; how fast
requests are otherwise is not looked at, since the machine does that.
"""

import threading
import time

import pytest
from cassandra import ConsistencyLevel

import clients
from ferry import eventually

ROWS = 200
#: Requests that took longer than this were affected: who waits for a node that is lost waits for heartbeat_timeout (2 s) at
#: least, and a machine with much else to do does not take as long. Seconds.
LATE = 1.9
#: What it may take until none is affected any more: heartbeat_timeout (2 s), and time for everything else.
SPARED_AFTER = 8.0


class Load:
    """Threads that read and write through the proxy until it is stopped."""

    def __init__(self, ferry, threads=4):
        self._cluster = clients.new_cluster(ferry.address, ferry.port, protocol_version=4)
        self._session = self._cluster.connect()
        self.read = self._prepare("SELECT v FROM failover.t WHERE k = ?")
        self.write = self._prepare("INSERT INTO failover.t (k, v) VALUES (?, ?)")
        self.errors = []
        self.late = []
        self.done = 0
        self.written = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(threads)]

    def _prepare(self, text):
        statement = self._session.prepare(text)
        statement.consistency_level = ConsistencyLevel.ONE
        return statement

    def _run(self, number):
        count = 0
        while not self._stop.is_set():
            count += 1
            key = number * ROWS + count % ROWS
            started = time.monotonic()
            try:
                self._session.execute(self.write, (key, count))
                self._session.execute(self.read, (key,))
            except Exception as error:
                with self._lock:
                    self.errors.append("%.1f s: %s" % (time.monotonic() - started, error))
            else:
                self.written[key] = count
            ended = time.monotonic()
            with self._lock:
                self.done += 1
                if ended - started > LATE:
                    self.late.append(ended)
            time.sleep(0.002)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.until_done(50)
        return self

    def __exit__(self, *exception):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._cluster.shutdown()

    def until_done(self, more):
        goal = self.done + more
        eventually("%d requests more" % more, lambda: self.done >= goal)

    def check(self, since, what):
        """No error, and nothing late once the loss is noticed. Prints what docs and notes quote."""
        assert not self.errors, (what, len(self.errors), self.errors[:3])
        last = max((at - since for at in self.late), default=0.0)
        print("%s: %d requests, last late one after %.1f s" % (what, self.done, last))
        assert last < SPARED_AFTER


def everything_is_there(clusters, load, level=ConsistencyLevel.ALL):
    wanted = sorted(load.written.items())
    for cluster in clusters.values():
        assert set(cluster.rows(level)) >= set(wanted), cluster.name


def connections(ferry, node):
    """Connections of the proxy to this node, by its own counters."""
    for line in ferry.get("/metrics")[1].splitlines():
        if "connections_total{" in line and 'node="%s:%d"' % (node.address, node.port) in line and "failed" not in line:
            return int(float(line.split()[-1]))
    return 0


def ready(ferry, node):
    """How many pooled connections to the node have become ready so far."""
    return ferry.log().count("a pooled connection to %s:%d is ready" % (node.address, node.port))


@pytest.mark.parametrize("name", ["origin", "target"])
def test_a_node_is_killed_and_comes_back(clusters, ferry, name):
    cluster = clusters[name]
    with Load(ferry) as load:
        eventually("connections to the second node", lambda: connections(ferry, cluster.second) > 0)
        since = time.monotonic()
        cluster.second.stop(kill=True)
        load.until_done(400)
        assert connections(ferry, cluster.second) == 0
        cluster.second.start()
        eventually("connections to the node that is back", lambda: connections(ferry, cluster.second) > 0)
        load.until_done(100)
    load.check(since, "%s: kill -9 and restart" % name)
    everything_is_there(clusters, load)


@pytest.mark.parametrize("name", ["origin", "target"])
def test_a_node_hangs_and_goes_on(clusters, ferry, name):
    """SIGSTOP: its connections stay open, and take requests that are never answered."""
    cluster = clusters[name]
    with Load(ferry) as load:
        eventually("connections to the second node", lambda: connections(ferry, cluster.second) > 0)
        since = time.monotonic()
        cluster.second.pause()
        try:
            eventually("the node is given up", lambda: "nothing was heard" in ferry.log())
            load.until_done(200)
        finally:
            before = ready(ferry, cluster.second)
            cluster.second.resume()
        # The kernel takes connections for a node that is stopped; READY comes from the node itself.
        eventually("connections to the node that is back", lambda: ready(ferry, cluster.second) > before)
        load.until_done(100)
    load.check(since, "%s: SIGSTOP and SIGCONT" % name)
    everything_is_there(clusters, load)


@pytest.mark.parametrize("name", ["target"])
def test_a_node_leaves(clusters, ferry, name):
    """The last test: the node does not come back."""
    cluster = clusters[name]
    with Load(ferry) as load:
        eventually("connections to the second node", lambda: connections(ferry, cluster.second) > 0)
        since = time.monotonic()
        cluster.decommission()
        eventually("no connections to it", lambda: connections(ferry, cluster.second) == 0)
        load.until_done(200)
    load.check(since, "%s: decommission" % name)
    # With one node left there are no two replicas to ask.
    everything_is_there(clusters, load, ConsistencyLevel.ONE)

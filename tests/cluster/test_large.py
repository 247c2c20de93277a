"""Large things on a real node whose limits were raised: it is origin and target at once, so that one node will do."""

import os
import re

import pytest
from cassandra.cluster import ExecutionProfile
from cassandra.policies import FallthroughRetryPolicy
from cassandra.query import BatchStatement, BatchType, SimpleStatement

import clients
import nodes

pytestmark = pytest.mark.pair("open")

MIB = 1 << 20
# What Cassandra 4.1 and 5.0 need for it, by the names of both.
LIMITS = {
    "native_transport_max_frame_size": "256MiB",
    "native_transport_max_request_data_in_flight": "512MiB",
    "native_transport_max_request_data_in_flight_per_ip": "512MiB",
    "batch_size_warn_threshold": "64MiB",
    "batch_size_fail_threshold": "128MiB",
    "commitlog_segment_size": "256MiB",
    "commitlog_total_space": "1024MiB",
    "memtable_heap_space": "512MiB",
    "memtable_offheap_space": "512MiB",
    "write_request_timeout": "30000ms",
    "read_request_timeout": "30000ms",
}
PATIENT = ExecutionProfile(retry_policy=FallthroughRetryPolicy(), request_timeout=100)


@pytest.fixture(scope="module")
def node(both_clusters, tmp_path_factory):
    """Two nodes are the most that run at a time: the others, if there are any, are started again when they are needed."""
    for side in both_clusters.sides:
        side.stop()
    one = nodes.Node(tmp_path_factory.mktemp("large"), "5.0", "127.0.0.4", cluster="large", settings=LIMITS, heap=1536)
    one.start()
    yield one
    one.stop(kill=True)


@pytest.fixture
def keyspace(node):
    """With a table; made on the node itself, since it would be made twice through the proxy."""
    cluster = clients.direct(node)
    session = cluster.connect()
    session.execute("CREATE KEYSPACE large WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
    session.execute("CREATE TABLE large.t (id int PRIMARY KEY, v blob)")
    yield "large"
    session.execute("DROP KEYSPACE large")
    cluster.shutdown()


def ini(node):
    cluster = {"contact_points": node.address, "port": node.port}
    return {"origin": cluster, "target": cluster,
            "proxy": {"max_frame_size": "64MiB", "request_timeout": "100s", "workers": 2}}


def peak(ferry):
    with open("/proc/%d/status" % ferry.process.pid) as status:
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read()).group(1)) / 1024


@pytest.mark.checklist(36)
@pytest.mark.parametrize("compression", [False, "lz4"])
@pytest.mark.parametrize("version", [4, 5])
def test_a_page_of_120_mib_and_a_batch_of_40_mib(node, keyspace, start_ferry, version, compression):
    ferry = start_ferry(ini=ini(node))
    with clients.connected(ferry.address, ferry.port, protocol_version=version, compression=compression,
                           profile=PATIENT) as session:
        values = {i: os.urandom(MIB) for i in range(120)}
        insert = session.prepare("INSERT INTO %s.t (id, v) VALUES (?, ?)" % keyspace)
        for first in range(0, 120, 40):
            batch = BatchStatement(batch_type=BatchType.UNLOGGED)
            for i in range(first, first + 40):
                batch.add(insert, (i, values[i]))
            session.execute(batch)
        result = session.execute(SimpleStatement("SELECT id, v FROM %s.t" % keyspace, fetch_size=1000))
        assert not result.has_more_pages
        assert {row.id: row.v for row in result} == values
        assert peak(ferry) < 3 * 120 + 3 * 40 + 150

"""A driver of the real world in front of three instances: it sends each key to the instance that has its token."""
import asyncio
import bisect
import copy
import time

import pytest
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.metadata import KeyspaceMetadata, Murmur3Token
from cassandra.policies import FallthroughRetryPolicy, RoundRobinPolicy, TokenAwarePolicy

from proxy import Proxy

COUNT = 3
WRITE = "INSERT INTO ks.t (k, v) VALUES (?, ?)"
READ = "SELECT * FROM ks.t WHERE k = ?"
KEYS = [f"key-{i}" for i in range(60)]


def owner(key, per=8):
    """The instance whose token is the first at or behind the key's, by the formula for tokens."""
    step = 2 ** 64 // (per * COUNT)
    ring = sorted((step * (t * COUNT + i) - 2 ** 63, i) for t in range(per) for i in range(COUNT))
    at = bisect.bisect_left(ring, (Murmur3Token.hash_fn(key.encode()), -1))
    return ring[at % len(ring)][1]


class Instances:
    """Three proxies for one pair of clusters; the first is the bench's."""

    def __init__(self, bench, addresses):
        self.bench = bench
        self.addresses = addresses
        self.proxies = [bench.proxy]

    async def start_others(self):
        for index in range(1, COUNT):
            proxy = Proxy(self.bench.proxy.folder, f"{self.bench.name}-{index}")
            proxy.listen = (self.addresses[index], self.bench.proxy.listen[1])
            proxy.http = (self.addresses[index], self.bench.proxy.http[1])
            sections = copy.deepcopy(self.bench.ini())
            sections["listener"]["address"] = sections["http"]["address"] = self.addresses[index]
            sections["proxy"]["topology_index"] = index
            self.proxies.append(proxy)
            await proxy.start(sections=sections)

    async def counted(self, name):
        return [int((await proxy.metrics())[name]) for proxy in self.proxies]

    async def stop_others(self):
        for proxy in self.proxies[1:]:
            try:
                await proxy.stop()
            finally:
                await proxy.kill()


def use_driver(address, port):
    """Writes and reads each key; returns which address coordinated each of both, and the addresses of the hosts."""
    profile = ExecutionProfile(load_balancing_policy=TokenAwarePolicy(RoundRobinPolicy()),
                               retry_policy=FallthroughRetryPolicy(), request_timeout=10)
    cluster = Cluster([address], port=port, protocol_version=4, execution_profiles={EXEC_PROFILE_DEFAULT: profile},
                      schema_metadata_enabled=False, connect_timeout=10, control_connection_timeout=10)
    try:
        session = cluster.connect()
        until = time.monotonic() + 10
        while len(session.get_pool_state()) < COUNT:  # it opens those to the other hosts in the background
            assert time.monotonic() < until, session.get_pool_state()
            time.sleep(0.02)
        # What the driver would have learnt from system_schema: one replica of each key.
        cluster.metadata.keyspaces["ks"] = KeyspaceMetadata("ks", True, "SimpleStrategy", {"replication_factor": "1"})
        coordinated = []
        for text, values in ((WRITE, lambda key: (key, "v")), (READ, lambda key: (key,))):
            statement = session.prepare(text)
            for key in KEYS:
                bound = statement.bind(values(key))
                bound.keyspace = "ks"
                future = session.execute_async(bound)
                future.result()
                coordinated.append((key, future.coordinator_host.address))
        return coordinated, {host.address for host in cluster.metadata.all_hosts()}
    finally:
        cluster.shutdown()


@pytest.mark.connections(119)
@pytest.mark.checklist(179)
@pytest.mark.parametrize("first", range(COUNT))
async def test_keys_go_to_the_instance_with_their_token(make_bench, free_addresses, first):
    """Whichever instance the driver begins with."""
    addresses = free_addresses.take(COUNT)
    port = free_addresses.port(*addresses)

    def configure(bench):
        bench.proxy.listen = (addresses[0], port)
        bench.proxy.http = (addresses[0], free_addresses.port(*addresses))
    bench = await make_bench(fresh=True, configure=configure,
                             sections={"proxy": {"topology_addresses": ", ".join(addresses), "topology_index": 0}})
    instances = Instances(bench, addresses)
    try:
        await instances.start_others()
        coordinated, hosts = await asyncio.get_running_loop().run_in_executor(None, use_driver, addresses[first], port)
        assert hosts == set(addresses)
        assert coordinated == [(key, addresses[owner(key)]) for key in KEYS * 2]
        expected = [[owner(key) for key in KEYS].count(i) for i in range(COUNT)]
        assert min(expected) > 5
        count = 'zdm_proxy_request_duration_seconds_count{type="%s"}'
        assert await instances.counted(count % "writes") == expected
        assert await instances.counted(count % "reads_origin") == expected
    finally:
        await instances.stop_others()

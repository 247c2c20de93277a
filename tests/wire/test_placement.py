"""load_balancing = token_aware: pooled EXECUTEs and BATCHes go to replicas of their partition, as far as they can."""
import random

import pytest
from cassandra.metadata import Murmur3Token

from cqlwire import CL, Column, Kind, Op, Type
from fakecluster import RESULT_COLUMNS
from test_ring import HIGH, LOW, Host, own_placement

pytestmark = pytest.mark.native

READ = "SELECT * FROM ks.t WHERE k = ?"
WRITE = "INSERT INTO ks.t (k, v) VALUES (?, ?)"
LWT = "INSERT INTO ks.t (k, v) VALUES (?, ?) IF NOT EXISTS"
KEYS = [f"key-{i}".encode() for i in range(40)]
SIMPLE = {"class": "org.apache.cassandra.locator.SimpleStrategy", "replication_factor": "1"}
TWO = {"class": "NetworkTopologyStrategy", "dc1": "2"}
POOLED = {"workers": 1, "backend_connections": "pooled", "pool_idle_timeout": "10ms"}
RACKS = {0: "r1", 1: "r1", 2: "r2", 3: "r2"}


def lay_out(cluster, bare=(), seed=0):
    """Gives the nodes tokens, but not those in `bare`; returns them as own_placement() takes them."""
    rng = random.Random(f"{cluster.name} {seed}")
    tokens = {n.index: [] if n.index in bare else [rng.randint(LOW, HIGH) for _ in range(16)] for n in cluster.nodes}
    for overrides in (cluster.local_overrides, cluster.peers_overrides):
        overrides["tokens"] = lambda node: [str(t) for t in tokens[node.index]] or None
    return [Host(number=n.index, tier=0, datacenter=n.datacenter, rack=n.rack, tokens=tokens[n.index])
            for n in cluster.nodes]


class Placed:
    """A bench whose nodes have tokens: four of origin with two replicas in two racks, three of target with one."""

    def __init__(self, make_bench):
        self.make_bench = make_bench

    async def start(self, bare=(), origin=TWO, target=SIMPLE, describe=None, sections=None, proxy=None, datacenters=None):
        def configure(bench):
            self.hosts = {cluster.name: lay_out(cluster, bare) for cluster in bench.clusters}
            for cluster in bench.clusters:
                cluster.describe = describe or cluster.describe
        self.replication = {"origin": origin, "target": target}
        self.bench = await self.make_bench(
            fresh=True, configure=configure, sections={**(sections or {}), "proxy": {**POOLED, **(proxy or {})}},
            origin={"nodes": 4, "racks": RACKS, "datacenters": datacenters, "keyspaces": {"ks": origin}},
            target={"nodes": 3, "keyspaces": {"ks": target}})
        return self.bench

    def replicas(self, cluster, key):
        """In the order of the placement; Cassandra's class names are all the same to it."""
        replication = dict(self.replication[cluster.name])
        replication["class"] = replication["class"].rpartition(".")[2]
        return own_placement(self.hosts[cluster.name], replication, Murmur3Token.hash_fn(key))

    async def counted(self, cluster, node):
        metrics = await self.bench.proxy.metrics()
        return metrics[f'zdm_cqlferry_placed_requests_total{{cluster="{cluster.name}",node="{node}"}}']

    async def warm(self, execute, keys=KEYS):
        """Sends each key until all that go to replicas do: connections to nodes are opened when they are wanted."""
        for _ in range(50):
            before = [await self.counted(cluster, "other") for cluster in self.bench.clusters]
            for key in keys:
                assert not (await execute(key)).is_error()
            if [await self.counted(cluster, "other") for cluster in self.bench.clusters] == before:
                break
        else:
            pytest.fail("some nodes get no connection")
        for cluster in self.bench.clusters:
            cluster.received.clear()

    async def until_no_errors(self, execute):
        """Sends each key until none fails any more; only the last round is looked at."""
        async def round_without_errors():
            for cluster in self.bench.clusters:
                cluster.received.clear()
            return not any([(await execute(key)).is_error() for key in KEYS])
        await self.bench.proxy.until(round_without_errors, "a round without errors")

    def nodes(self, cluster, position=0):
        """key to the nodes that got an EXECUTE with it."""
        found = {}
        for r in cluster.requests(Op.EXECUTE):
            found.setdefault(r.params.values[position], set()).add(r.conn.node.index)
        return found


@pytest.fixture
def placed(make_bench):
    return Placed(make_bench)


@pytest.mark.parametrize("version", (4, 5))
async def test_executes_go_to_replicas(placed, version):
    """Reads to those of the primary, writes to those of both clusters, each by its own tokens and replication."""
    bench = await placed.start()
    c = await bench.client(version)
    read, write = await c.prepare(READ), await c.prepare(WRITE)
    await placed.warm(lambda key: c.execute(write, values=[key, b"v"]))
    replica = [await placed.counted(cluster, "replica") for cluster in bench.clusters]
    for _ in range(3):
        for key in KEYS:
            assert (await c.execute(write, values=[key, b"v"])).kind == Kind.VOID
            assert (await c.execute(read, values=[key])).kind == Kind.ROWS
    for cluster in bench.clusters:
        nodes = placed.nodes(cluster)
        assert set(nodes) == set(KEYS)
        for key in KEYS:
            assert nodes[key] <= set(placed.replicas(cluster, key)), key
    # Of two replicas both are used.
    assert any(len(nodes) == 2 for nodes in placed.nodes(bench.origin).values())
    assert await placed.counted(bench.origin, "replica") == replica[0] + 6 * len(KEYS)
    assert await placed.counted(bench.target, "replica") == replica[1] + 3 * len(KEYS)


async def test_values_by_name(placed):
    bench = await placed.start(describe=lambda text, keyspace: (
        [Column("v", Type.VARCHAR), Column("k", Type.VARCHAR)], [1], []))
    c = await bench.client()
    write = await c.prepare("INSERT INTO ks.t (v, k) VALUES (:v, :k)")
    await placed.warm(lambda key: c.execute(write, values=[key, b"v"], names=["k", "v"]))
    for key in KEYS:
        assert (await c.execute(write, values=[key, b"v"], names=["k", "v"])).kind == Kind.VOID
    for cluster in bench.clusters:
        nodes = placed.nodes(cluster)
        assert all(nodes[key] <= set(placed.replicas(cluster, key)) for key in KEYS)


async def test_composite_keys(placed):
    bench = await placed.start(describe=lambda text, keyspace: (
        [Column("b", Type.VARCHAR), Column("v", Type.VARCHAR), Column("a", Type.VARCHAR)], [2, 0], []))
    c = await bench.client()
    write = await c.prepare("INSERT INTO ks.t (b, v, a) VALUES (?, ?, ?)")

    def execute(key):
        return c.execute(write, values=[key, None, b"first"])
    await placed.warm(execute)
    for key in KEYS:
        assert (await execute(key)).kind == Kind.VOID
    for cluster in bench.clusters:
        nodes = placed.nodes(cluster)
        for key in KEYS:
            joined = b"".join(len(part).to_bytes(2, "big") + part + b"\0" for part in (b"first", key))
            assert nodes[key] <= set(placed.replicas(cluster, joined))


async def test_values_of_ours_before_the_key(placed):
    """With replace_cql_functions the clusters count one variable more than the client."""
    def describe(text, keyspace):
        bind = [Column(f"p{i}", Type.VARCHAR) for i in range(text.count("?"))]
        return bind, [1] if len(bind) == 2 else [], []
    bench = await placed.start(describe=describe, sections={"routing": {"replace_cql_functions": "true"}})
    c = await bench.client()
    write = await c.prepare("INSERT INTO ks.t (id, k) VALUES (now(), ?)")
    assert len(write.bind) == 1
    await placed.warm(lambda key: c.execute(write, values=[key]))
    for key in KEYS:
        assert (await c.execute(write, values=[key])).kind == Kind.VOID
    for cluster in bench.clusters:
        nodes = placed.nodes(cluster, position=1)
        assert all(nodes[key] <= set(placed.replicas(cluster, key)) for key in KEYS)


async def test_batches_follow_their_first_prepared_statement(placed):
    bench = await placed.start()
    c = await bench.client()
    write = await c.prepare(WRITE)
    await placed.warm(lambda key: c.execute(write, values=[key, b"v"]))
    for key in KEYS:
        children = [("INSERT INTO ks.t (k) VALUES ('other')", []), (write.prepared_id, [key, b"v"]),
                    (write.prepared_id, [KEYS[0], b"v"])]
        assert (await c.batch(children, kind=1)).kind == Kind.VOID
    for cluster in bench.clusters:
        batches = cluster.requests(Op.BATCH)
        assert len(batches) == len(KEYS)
        for key, batch in zip(KEYS, batches):
            assert batch.conn.node.index in placed.replicas(cluster, key)


async def test_conditional_writes_go_to_one_replica(placed):
    """The first of the placement, and the next one when it is down; reads with SERIAL go there, too."""
    bench = await placed.start()
    c = await bench.client()
    lwt, read = await c.prepare(LWT), await c.prepare(READ)
    await placed.warm(lambda key: c.execute(lwt, values=[key, b"v"]))

    async def run():
        for _ in range(3):
            for key in KEYS:
                assert not (await c.execute(lwt, values=[key, b"v"])).is_error()
                assert not (await c.execute(read, values=[key], consistency=CL.LOCAL_SERIAL)).is_error()
    await run()
    for cluster in bench.clusters:
        assert placed.nodes(cluster) == {key: {placed.replicas(cluster, key)[0]} for key in KEYS}
    await bench.origin.nodes[2].stop()
    await placed.until_no_errors(lambda key: c.execute(lwt, values=[key, b"v"]))
    await run()
    assert placed.nodes(bench.origin) == {key: {next(n for n in placed.replicas(bench.origin, key) if n != 2)}
                                          for key in KEYS}


async def test_texts_and_old_versions(placed):
    """What says nothing of its key goes anywhere, and is counted so."""
    bench = await placed.start()
    c = await bench.client(3)
    write = await c.prepare(WRITE)
    for key in KEYS:
        assert (await c.execute(write, values=[key, b"v"])).kind == Kind.VOID
    assert (await c.query("INSERT INTO ks.t (k) VALUES ('x')")).kind == Kind.VOID
    for cluster in bench.clusters:
        assert await placed.counted(cluster, "unknown") >= len(KEYS) + 1
        assert await placed.counted(cluster, "replica") == 0


async def test_a_key_that_v4_has_told_stays_known(placed):
    """A client of v3 that prepares the statement, too, does not take the key from those of v4."""
    bench = await placed.start()
    c, old = await bench.client(4), await bench.client(3)
    write = await c.prepare(WRITE)
    await old.prepare(WRITE)
    await placed.warm(lambda key: c.execute(write, values=[key, b"v"]))
    assert await placed.counted(bench.origin, "replica") > 0


async def test_nodes_without_tokens(placed):
    """They get no request with a known key, but hold no replica either; the other nodes' are found."""
    bench = await placed.start(bare=(2,))
    c = await bench.client()
    write = await c.prepare(WRITE)
    await placed.warm(lambda key: c.execute(write, values=[key, b"v"]))
    for key in KEYS:
        assert (await c.execute(write, values=[key, b"v"])).kind == Kind.VOID
    for cluster in bench.clusters:
        nodes = placed.nodes(cluster)
        assert all(nodes[key] <= set(placed.replicas(cluster, key)) for key in KEYS)
        assert 2 not in set.union(*nodes.values())


async def test_no_tokens_at_all(placed):
    """As if the keys were not known: all nodes get some."""
    bench = await placed.start(bare=range(4))
    c = await bench.client()
    write = await c.prepare(WRITE)

    async def all_reached():
        for key in KEYS:
            assert (await c.execute(write, values=[key, b"v"])).kind == Kind.VOID
        return all({r.conn.node.index for r in cluster.requests(Op.EXECUTE)} == {n.index for n in cluster.nodes}
                   for cluster in bench.clusters)
    await bench.proxy.until(all_reached, "EXECUTEs at all nodes")
    for cluster in bench.clusters:
        assert await placed.counted(cluster, "replica") == 0 == await placed.counted(cluster, "other")


async def test_a_replica_is_down(placed):
    """Its keys go to the other replica; where it was the only one, to any node."""
    bench = await placed.start()
    c = await bench.client()
    write = await c.prepare(WRITE)
    await placed.warm(lambda key: c.execute(write, values=[key, b"v"]))
    down = {bench.origin.name: bench.origin.nodes[3], bench.target.name: bench.target.nodes[2]}
    for node in down.values():
        await node.stop()
    await placed.until_no_errors(lambda key: c.execute(write, values=[key, b"v"]))
    for key, nodes in placed.nodes(bench.origin).items():
        replicas = set(placed.replicas(bench.origin, key))
        assert nodes == replicas - {3} if 3 in replicas else nodes <= replicas
    alone = [key for key in KEYS if placed.replicas(bench.target, key) == [2]]
    assert alone
    for key, nodes in placed.nodes(bench.target).items():
        assert nodes <= {0, 1} if key in alone else nodes == set(placed.replicas(bench.target, key))


async def test_the_fallback_datacenter(placed):
    """Replicas of the datacenter that requests go to: of dc1, and of dc2 when dc1 is down, though all are known."""
    bench = await placed.start(
        origin={"class": "NetworkTopologyStrategy", "dc1": "1", "dc2": "1"}, datacenters={2: "dc2", 3: "dc2"},
        sections={"origin": {"local_datacenter": "dc1", "fallback_datacenters": "dc2"}})
    c = await bench.client()
    read = await c.prepare(READ)

    def execute(key):
        return c.execute(read, values=[key])
    await placed.warm(execute)
    for key in KEYS:
        assert (await execute(key)).kind == Kind.ROWS
    assert placed.nodes(bench.origin) == {key: {placed.replicas(bench.origin, key)[0]} for key in KEYS}
    assert set.union(*placed.nodes(bench.origin).values()) == {0, 1}
    for node in bench.origin.nodes[:2]:
        await node.stop()
    await placed.until_no_errors(execute)
    await placed.warm(execute)
    for key in KEYS:
        assert (await execute(key)).kind == Kind.ROWS
    assert placed.nodes(bench.origin) == {key: {placed.replicas(bench.origin, key)[1]} for key in KEYS}
    assert set.union(*placed.nodes(bench.origin).values()) == {2, 3}


async def test_a_keyspace_changes(placed):
    """One replica becomes two, and the other way round, as soon as the cluster says so."""
    bench = await placed.start(origin=SIMPLE)
    c = await bench.client()
    read = await c.prepare(READ)
    await placed.warm(lambda key: c.execute(read, values=[key]))

    async def change(replication):
        placed.replication["origin"] = replication
        bench.origin.keyspaces["ks"] = replication
        bench.origin.emit("SCHEMA_CHANGE", "UPDATED", "KEYSPACE", "ks", control=True)

        async def followed():
            bench.origin.received.clear()
            for _ in range(8):
                for key in KEYS:
                    assert (await c.execute(read, values=[key])).kind == Kind.ROWS
            return placed.nodes(bench.origin) == {key: set(placed.replicas(bench.origin, key)) for key in KEYS}
        await bench.proxy.until(followed, "requests at exactly the new replicas")
    await change({"class": "SimpleStrategy", "replication_factor": "2"})
    await change({"class": "SimpleStrategy", "replication_factor": "1"})


async def test_a_keyspace_that_nobody_places(placed):
    """LocalStrategy and the like: any node."""
    bench = await placed.start(origin={"class": "org.apache.cassandra.locator.EverywhereStrategy"})
    c = await bench.client()
    read = await c.prepare(READ)
    for key in KEYS:
        assert (await c.execute(read, values=[key])).kind == Kind.ROWS
    assert await placed.counted(bench.origin, "unknown") >= len(KEYS)
    assert await placed.counted(bench.origin, "replica") == 0


async def test_round_robin_knows_no_replicas(placed):
    bench = await placed.start(proxy={"load_balancing": "round_robin"})
    c = await bench.client()
    read = await c.prepare(READ)

    async def all_reached():
        for _ in range(8):
            assert (await c.execute(read, values=[KEYS[0]])).kind == Kind.ROWS
        return {r.conn.node.index for r in bench.origin.requests(Op.EXECUTE)} == {0, 1, 2, 3}
    await bench.proxy.until(all_reached, "one key at all nodes")
    assert await placed.counted(bench.origin, "replica") == 0 == await placed.counted(bench.origin, "unknown")

"""
The schema_version of the native profile's system tables: what drivers wait for after a change of the schema. It must
make them wait until both clusters have the change on all nodes, and not for ever.
"""
import asyncio
import time
import uuid

import pytest
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import RoundRobinPolicy

from cqlwire import Op
from helpers import schema_version
from instances import two_instances

THREE = {"proxy": {"topology_addresses": "10.9.0.1, 10.9.0.2, 10.9.0.3", "topology_index": 1}}
LOCAL = "SELECT schema_version FROM system.local WHERE key='local'"
PEERS = "SELECT peer, schema_version FROM system.peers"
CREATE = "CREATE TABLE ks.made (k int PRIMARY KEY)"


async def shown(c):
    """What a driver compares: the version of system.local, and those of system.peers."""
    local = (await c.query(LOCAL)).rows
    peers = (await c.query(PEERS)).rows
    return [row[0] for row in local] + [row[1] for row in peers]


def agreed(versions):
    return versions[0] if len(set(versions)) == 1 else None


async def until_agreed(bench, c):
    async def agrees():
        return agreed(await shown(c))
    return await bench.proxy.until(agrees, "agreement")


def change(*clusters):
    for cluster in clusters:
        cluster.schema_version = uuid.uuid4()


def looks(cluster):
    """How often its control connection has read the tables."""
    return len([r for r in cluster.control_requests(Op.QUERY) if "system.local" in r.statement])


async def until_looked(cluster, count=2):
    before = looks(cluster)
    await cluster.until(lambda: looks(cluster) >= before + count, "look at the tables")


async def test_one_value_made_of_both(make_bench):
    bench = await make_bench(profile="native", sections=THREE)
    c = await bench.client()
    assert await shown(c) == [schema_version(bench)] * 3


async def test_no_agreement_on_the_old_version(make_bench):
    """The change was answered, but the nodes that are asked do not show it yet."""
    bench = await make_bench(fresh=True, profile="native", sections=THREE)
    c = await bench.client()
    old = agreed(await shown(c))
    started = time.monotonic()
    assert (await c.query(CREATE)).change

    def was_late():
        """What is asked is answered, but three seconds may have passed, after which the nodes are believed."""
        return time.monotonic() - started > 2.5
    for cluster in bench.clusters:
        assert len(set(await shown(c))) == 3 or was_late()
        await until_looked(cluster)
        assert len(set(await shown(c))) == 3 or was_late()
        change(cluster)
    new = schema_version(bench)
    assert new != old

    async def is_shown():
        version = agreed(await shown(c))
        assert version in (None, new) or was_late()
        return version == new
    await bench.proxy.until(is_shown, "new version")


async def test_a_change_that_gives_no_new_version(make_bench):
    """As with IF NOT EXISTS on some versions of Cassandra: drivers wait for three seconds, no longer."""
    bench = await make_bench(fresh=True, profile="native", sections=THREE)
    c = await bench.client()
    old = agreed(await shown(c))
    started = time.monotonic()
    assert (await c.query(CREATE)).change
    assert not agreed(await shown(c))
    assert await until_agreed(bench, c) == old
    assert 2.5 < time.monotonic() - started


@pytest.mark.parametrize("where", ["origin", "target"])
async def test_nodes_that_disagree(make_bench, where):
    """Each row has a version of its own as long as that is so; nodes that are down do not count."""
    bench = await make_bench(fresh=True, profile="native", sections=THREE, **{where: {"nodes": 3}})
    cluster = getattr(bench, where)
    c = await bench.client()
    old = agreed(await shown(c))
    late = cluster.nodes[2]
    other = uuid.uuid4()
    cluster.peers_overrides["schema_version"] = lambda node: other if node is late else cluster.schema_version
    cluster.emit("SCHEMA_CHANGE", "UPDATED", "KEYSPACE", "ks", control=True)
    await until_looked(cluster)

    async def disagree():
        return not agreed(await shown(c))
    await bench.proxy.until(disagree, "disagreement")
    assert len(set(await shown(c))) == 3
    assert cluster.emit("STATUS_CHANGE", "DOWN", late.address, cluster.port, control=True) == 1
    assert await until_agreed(bench, c) == old
    assert cluster.emit("STATUS_CHANGE", "UP", late.address, cluster.port, control=True) == 1
    await bench.proxy.until(disagree, "disagreement")
    cluster.peers_overrides.clear()
    assert await until_agreed(bench, c) == old


async def test_it_changes_when_both_have_changed(make_bench):
    """A change that did not go through the proxy comes to the clusters one after the other."""
    bench = await make_bench(fresh=True, profile="native", sections=THREE)
    c = await bench.client()
    old = agreed(await shown(c))
    await asyncio.sleep(0.1)
    seen = set()
    for cluster in bench.clusters:
        change(cluster)
        cluster.emit("SCHEMA_CHANGE", "CREATED", "TABLE", "ks", "t", control=True)
        await until_looked(cluster, 1)
        await bench.settle(c)
        if cluster is bench.origin:
            seen.add(await until_agreed(bench, c))
    assert seen == {old}

    async def both():
        return agreed(await shown(c)) == schema_version(bench)
    await bench.proxy.until(both, "new version")


async def test_a_change_of_one_cluster_alone(make_bench):
    bench = await make_bench(fresh=True, profile="native", sections=THREE)
    c = await bench.client()
    change(bench.target)
    started = time.monotonic()
    bench.target.emit("SCHEMA_CHANGE", "CREATED", "TABLE", "ks", "t", control=True)

    async def new():
        return agreed(await shown(c)) == schema_version(bench)
    await bench.proxy.until(new, "new version")
    assert 1.5 < time.monotonic() - started


async def test_the_zdm_profile_shows_the_nodes_version(make_bench):
    bench = await make_bench(fresh=True, profile="zdm")
    c = await bench.client()
    assert (await c.query(LOCAL)).rows == [[bench.origin.schema_version]]
    assert (await c.query(CREATE)).change
    assert (await c.query(LOCAL)).rows == [[bench.origin.schema_version]]


# ---- a single instance: nothing can differ from its row ----

@pytest.mark.parametrize("prepared", [False, True])
async def test_a_single_row_waits(make_bench, prepared):
    bench = await make_bench(fresh=True, profile="native")
    c, other = await bench.client(5, "lz4"), await bench.client()
    statement = await c.prepare(LOCAL)
    assert (await c.query(CREATE)).change
    stream = c.send_execute(statement, stream=9) if prepared else c.send_query(LOCAL, stream=9)
    # what drivers ask when they connect, and everything else, goes on
    assert len((await other.query("SELECT * FROM system.local")).rows) == 1
    assert (await other.query(PEERS)).rows == []
    assert (await c.query("SELECT * FROM ks.t")).rows
    await asyncio.gather(*[until_looked(cluster, 1) for cluster in bench.clusters])
    await bench.settle(c)
    assert not c.received
    change(bench.origin, bench.target)
    answer = await c.answer(stream)
    assert answer.rows == [[schema_version(bench)]]


async def test_a_single_row_waits_a_second_at_most(make_bench):
    bench = await make_bench(fresh=True, profile="native")
    c = await bench.client()
    started = time.monotonic()
    assert (await c.query(CREATE)).change
    streams = [c.send_query(LOCAL) for _ in range(5)]
    for stream in streams:
        assert (await c.answer(stream)).rows == [[schema_version(bench)]]
    assert 0.9 < time.monotonic() - started


@pytest.mark.parametrize("end", ["close", "stop"])
async def test_the_end_while_it_waits(make_bench, end):
    bench = await make_bench(fresh=True, profile="native")
    c = await bench.client()
    assert (await c.query(CREATE)).change
    stream = c.send_query(LOCAL)
    await bench.settle(c)
    if end == "close":
        await c.close()
        other = await bench.client()
        assert (await other.query("SELECT * FROM ks.t")).rows
        assert (await other.query(LOCAL)).rows
    else:
        bench.may_be_down = True
        bench.proxy.signal()
        assert (await c.answer(stream)).rows
        assert await c.closed() == []
        assert await bench.proxy.wait() == 0


# ---- the Python driver ----

def create_with_driver(address, port):
    """Returns the seconds that the driver took, its wait for agreement included."""
    profile = ExecutionProfile(load_balancing_policy=RoundRobinPolicy(), request_timeout=20)
    cluster = Cluster([address], port=port, protocol_version=4, connect_timeout=10, max_schema_agreement_wait=30,
                      execution_profiles={EXEC_PROFILE_DEFAULT: profile}, schema_metadata_enabled=False,
                      token_metadata_enabled=False)
    try:
        session = cluster.connect()
        started = time.monotonic()
        session.execute(CREATE)
        return time.monotonic() - started
    finally:
        cluster.shutdown()


async def changes_later(bench, seconds):
    """What a change does: both clusters have it some time after it was answered, target last."""
    await bench.target.until(lambda: CREATE in bench.target.statements(), "CREATE")
    for cluster in bench.clusters:
        await asyncio.sleep(seconds / 2)
        change(cluster)


@pytest.mark.parametrize("instances,seconds", [(1, 0.6), (2, 1.2)])
async def test_a_driver_waits(make_bench, free_addresses, instances, seconds):
    """It comes back when both clusters have the change, and not much later."""
    async def run(bench, address, port):
        loop = asyncio.get_running_loop()
        change_task = asyncio.ensure_future(changes_later(bench, seconds))
        took = await loop.run_in_executor(None, create_with_driver, address, port)
        assert change_task.done()
        assert seconds - 0.1 < took < seconds + 10
    if instances == 1:
        bench = await make_bench(fresh=True, profile="native")
        await run(bench, *bench.proxy.listen)
    else:
        async with two_instances(make_bench, free_addresses) as (bench, addresses, port):
            await run(bench, addresses[0], port)

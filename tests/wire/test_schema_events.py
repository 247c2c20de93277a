"""
The native profile's events: REGISTER is answered by the proxy, changes of the schema come from the two control
connections, once, and in the form of the client's version.
"""
import itertools
import uuid

import pytest

from cqlwire import EVENTS, Err, Op, responses
from cqlwire.primitives import Writer
from helpers import PRIMARIES, WAY_IDS, WAYS, assert_error

#: Under NATIVE these run as they are even where CQLFERRY_PROFILE says otherwise.
NATIVE = {"profile": "native"}
ALL_VERSIONS = (2, 3, 4, 5)
WIDE = {"origin": {"versions": ALL_VERSIONS}, "target": {"versions": ALL_VERSIONS}}


def new_name(numbers=itertools.count()):
    """The proxies of these tests are shared, and a table that is created twice at once is no news."""
    return f"t{next(numbers)}"


def report(cluster, *change):
    """The node of the control connection says so."""
    assert cluster.emit("SCHEMA_CHANGE", *change, control=True) == 1


def told(client):
    return [e.event for e in client.events]


async def until_told(client, count):
    await client.until(lambda: len(client.events) >= count, f"{count} events")
    return told(client)


async def nothing_else(bench, client, count):
    """A change behind all others is told behind all others: when it has come, nothing else is under way."""
    for cluster in bench.clusters:
        report(cluster, "UPDATED", "KEYSPACE", "last_of_all")
    await client.until(lambda: ("SCHEMA_CHANGE", "UPDATED", "KEYSPACE", "last_of_all") in told(client), "last event")
    assert len(client.events) == count + 1, told(client)


@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_register_is_answered_here(make_bench, version, compression):
    """The clusters need not know: the control connections have registered long since."""
    bench = await make_bench(**NATIVE)
    c = await bench.client(version, compression)
    assert (await c.register(*EVENTS)).opcode == Op.READY
    await bench.settle(c)
    for cluster in bench.clusters:
        assert cluster.requests(Op.REGISTER) == []


async def test_register_for_what_does_not_exist(make_bench):
    bench = await make_bench(**NATIVE)
    table = new_name()
    c, witness = await bench.client(), await bench.client()
    assert_error(await c.register("SCHEMA_CHANGE", "WEATHER"), Err.PROTOCOL_ERROR)
    await witness.register("SCHEMA_CHANGE")
    for cluster in bench.clusters:
        report(cluster, "CREATED", "TABLE", "ks", table)
    await until_told(witness, 1)
    await bench.settle(c)
    assert (await c.register("SCHEMA_CHANGE")).opcode == Op.READY
    await nothing_else(bench, c, 0)


@pytest.mark.checklist(78, 79)
@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("first", PRIMARIES)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_told_once_when_both_have_reported(make_bench, primary, first, version, compression):
    bench = await make_bench(primary=primary, **NATIVE)
    table = new_name()
    c = await bench.client(version, compression)
    await c.register(*EVENTS)
    one, other = (bench.origin, bench.target) if first == "origin" else (bench.target, bench.origin)
    for cluster in (one, other):
        cluster.emit("STATUS_CHANGE", "DOWN", "10.1.2.3", 9042, control=True)
        cluster.emit("TOPOLOGY_CHANGE", "MOVED_NODE", "10.1.2.3", 9042, control=True)
    report(one, "CREATED", "TABLE", "ks", table)
    await bench.settle(c)
    assert not c.events
    report(other, "CREATED", "TABLE", "ks", table)
    assert await until_told(c, 1) == [("SCHEMA_CHANGE", "CREATED", "TABLE", "ks", table)]
    assert c.events[0].stream == -1 and c.events[0].version == version
    await nothing_else(bench, c, 1)


async def test_told_alone_after_two_seconds(make_bench):
    """Only target has the change: routed there, or made there by somebody else."""
    bench = await make_bench(**NATIVE)
    table = new_name()
    c = await bench.client()
    await c.register("SCHEMA_CHANGE")
    report(bench.target, "CREATED", "TABLE", "ks", table)
    assert await until_told(c, 1) == [("SCHEMA_CHANGE", "CREATED", "TABLE", "ks", table)]
    # drivers read the schema from origin, which has it only now
    report(bench.origin, "CREATED", "TABLE", "ks", table)
    assert len(await until_told(c, 2)) == 2
    await nothing_else(bench, c, 2)


async def test_the_same_several_times(make_bench):
    bench = await make_bench(**NATIVE)
    table = new_name()
    c = await bench.client()
    await c.register("SCHEMA_CHANGE")
    steps = ["CREATED", "DROPPED", "CREATED", "UPDATED", "DROPPED"]
    for step in steps:
        report(bench.origin, step, "TABLE", "ks", table)
    for step in steps:
        report(bench.target, step, "TABLE", "ks", table)
    assert await until_told(c, 5) == [("SCHEMA_CHANGE", step, "TABLE", "ks", table) for step in steps]
    report(bench.target, "DROPPED", "TABLE", "ks", table)  # a node repeats itself
    await nothing_else(bench, c, 5)


async def test_only_those_who_asked(make_bench):
    """Others, those that have not logged in, and those that asked for something else hear nothing."""
    bench = await make_bench(**NATIVE)
    keyspace = new_name()
    early = await bench.open()
    await early.options()
    one, other, third = [await bench.client() for _ in range(3)]
    await one.register("SCHEMA_CHANGE")
    await third.register("STATUS_CHANGE", "TOPOLOGY_CHANGE")
    for cluster in bench.clusters:
        report(cluster, "DROPPED", "KEYSPACE", keyspace)
    await until_told(one, 1)
    for c in (other, third):
        await bench.settle(c)
        assert not c.events
    await early.options()
    assert not early.events


FORMS = [
    (("CREATED", "TABLE", "ks", "t"), {2: ("CREATED", "ks", "t")}),
    (("UPDATED", "KEYSPACE", "ks"), {2: ("UPDATED", "ks", "")}),
    (("DROPPED", "TYPE", "ks", "address"), {2: ("UPDATED", "ks", "")}),
]


@pytest.mark.parametrize("change,forms", FORMS, ids=[change[1] for change, _ in FORMS])
async def test_the_form_of_each_version(make_bench, change, forms):
    bench = await make_bench(**NATIVE, **WIDE)
    clients = [await bench.client(version) for version in ALL_VERSIONS]
    for c in clients:
        await c.register("SCHEMA_CHANGE")
    for cluster in bench.clusters:
        report(cluster, *change)
    for c in clients:
        await until_told(c, 1)
        expected = Writer().string("SCHEMA_CHANGE")
        for word in forms.get(c.version, change):
            expected.string(word)
        assert c.events[0].frame.body == expected.done(), (c.version, c.events[0])


@pytest.mark.parametrize("target", ["FUNCTION", "AGGREGATE"])
async def test_functions_came_with_v4(make_bench, target):
    bench = await make_bench(**NATIVE, **WIDE)
    clients = [await bench.client(version) for version in ALL_VERSIONS]
    for c in clients:
        await c.register("SCHEMA_CHANGE")
    body = Writer().string("SCHEMA_CHANGE").string("CREATED").string(target).string("ks").string("f")
    body = body.string_list(["int", "frozen<map<text, int>>"]).done()
    for cluster in bench.clusters:
        for conn in cluster.control_connections():
            conn.send(Op.EVENT, body, stream=-1)
    expected = {2: Writer().string("SCHEMA_CHANGE").string("UPDATED").string("ks").string("").done(),
                3: responses.event("SCHEMA_CHANGE", "UPDATED", "KEYSPACE", "ks")}
    for c in clients:
        await until_told(c, 1)
        assert c.events[0].frame.body == expected.get(c.version, body), (c.version, c.events[0])


async def test_events_between_answers(make_bench):
    bench = await make_bench(**NATIVE)
    c = await bench.client(5, "lz4")
    await c.register("SCHEMA_CHANGE")
    for i in range(30):
        c.send_query(f"SELECT {i} FROM ks.t", stream=i)
        for cluster in bench.clusters:
            report(cluster, "UPDATED", "KEYSPACE", f"ks{i}")
    for i in range(30):
        assert (await c.answer(i)).rows[0][2] == f"SELECT {i} FROM ks.t"
    assert sorted(e[3] for e in await until_told(c, 30)) == sorted(f"ks{i}" for i in range(30))


@pytest.mark.parametrize("body", [b"", b"\0", b"\0\x0dSCHEMA_CHANG", b"\0\7WEATHER\0\3SUN", b"\xff\xff",
                                  b"\0\x0dSCHEMA_CHANGE", b"\0\x0dSCHEMA_CHANGE\0\7CREATED\0\5TABLE\0\2ks\0\5t"])
async def test_events_that_cannot_be_read(make_bench, body):
    bench = await make_bench(**NATIVE)
    c = await bench.client()
    await c.register("SCHEMA_CHANGE")
    for cluster in bench.clusters:
        for conn in cluster.control_connections():
            conn.send(Op.EVENT, body, stream=-1)
    await nothing_else(bench, c, 0)


async def test_events_on_request_connections_are_not_passed_on(make_bench):
    bench = await make_bench(**NATIVE)
    c = await bench.client()
    await c.register("SCHEMA_CHANGE")
    await bench.settle(c)
    for cluster in bench.clusters:
        for conn in cluster.connections():
            conn.send(Op.EVENT, responses.event("SCHEMA_CHANGE", "CREATED", "TABLE", "ks", "t"), stream=-1)
    await nothing_else(bench, c, 0)


async def test_a_client_that_does_not_read(make_bench):
    """It holds up nobody, and when it reads again it has missed nothing."""
    bench = await make_bench(**NATIVE)
    deaf, c = await bench.client(), await bench.client()
    for client in (deaf, c):
        await client.register("SCHEMA_CHANGE")
    deaf.transport.pause_reading()
    for i in range(200):
        for cluster in bench.clusters:
            report(cluster, "UPDATED", "TABLE", f"ks{i}", "t" * 100)
    await until_told(c, 200)
    deaf.transport.resume_reading()
    assert await until_told(deaf, 200) == told(c)


async def test_events_do_not_pile_up_for_ever(make_bench):
    """A client that never reads is closed in the end: it would go on with an old schema if events were left out."""
    bench = await make_bench(fresh=True, sections={"proxy": {"client_output_limit": "64KiB"}}, **NATIVE)
    deaf, c = await bench.client(), await bench.client()
    for client in (deaf, c):
        await client.register("SCHEMA_CHANGE")
    deaf.transport.pause_reading()
    rounds = 0
    while "it does not read" not in bench.proxy.messages:
        rounds += 1
        assert rounds < 60, "it is not closed"
        for i in range(20):
            for cluster in bench.clusters:
                report(cluster, "UPDATED", "TABLE", f"ks{rounds}_{i}", "t" * 15000)
        await until_told(c, rounds * 20)
    deaf.transport.resume_reading()
    await deaf.closed()
    assert 0 < len(deaf.events) < len(c.events)
    await bench.settle(c)


# ---- after a gap ----

QUICK = {"proxy": {"heartbeat_interval": "200ms", "heartbeat_retry_interval_min": "50ms",
                   "heartbeat_retry_interval_max": "100ms"}}
SIMPLE = {"class": "org.apache.cassandra.locator.SimpleStrategy", "replication_factor": "1"}
KEYSPACES = {name: SIMPLE for name in ("system", "system_schema", "one", "two", "gone")}


@pytest.mark.parametrize("where", PRIMARIES)
@pytest.mark.parametrize("version", [2, 3, 5])
async def test_after_a_gap(make_bench, where, version):
    """What happened while the control connection was away nobody has reported: drivers look at all of the users'."""
    settings = {name: {"versions": ALL_VERSIONS, "keyspaces": KEYSPACES} for name in PRIMARIES}
    bench = await make_bench(fresh=True, sections=QUICK, **settings, **NATIVE)
    cluster = getattr(bench, where)
    c, other = await bench.client(version), await bench.client(version)
    await c.register("SCHEMA_CHANGE")
    cluster.schema_version = uuid.uuid4()
    del cluster.keyspaces["gone"]
    cluster.keyspaces["three"] = SIMPLE
    for conn in cluster.control_connections():
        conn.close()
    expected = {("DROPPED", "gone"), ("UPDATED", "one"), ("UPDATED", "two"), ("UPDATED", "three")}
    await until_told(c, len(expected))
    # (kind, change, keyspace, "") in v2, (kind, change, KEYSPACE, keyspace) afterwards
    assert {(e[1], e[2] if version == 2 else e[3]) for e in told(c)} == expected
    assert len(c.events) == len(expected) and not other.events


async def test_a_gap_without_a_change(make_bench):
    bench = await make_bench(fresh=True, sections=QUICK, origin={"keyspaces": KEYSPACES},
                             target={"keyspaces": KEYSPACES}, **NATIVE)
    c = await bench.client()
    await c.register("SCHEMA_CHANGE")
    for cluster in bench.clusters:
        before = cluster.connection_count
        for conn in cluster.control_connections():
            conn.close()
        await cluster.until(lambda: cluster.connection_count > before and cluster.control_connections(), "reconnection")
    await bench.proxy.until_logged(r"(?s)(origin \S+: control connection is up.*){2}")
    await bench.proxy.until_logged(r"(?s)(target \S+: control connection is up.*){2}")
    await nothing_else(bench, c, 0)


async def test_shared_connections_in_the_zdm_profile(make_bench):
    """
    Which ZDM Proxy does not know: nobody's own connection is there to register on, so it is as in the native profile.
    REGISTER went to some node of each cluster, and its events to nobody.
    """
    bench = await make_bench(fresh=True, profile=None, sections={"proxy": {
        "profile": "zdm", "backend_connections": "pooled", "pool_idle_timeout": "10ms"}})
    c = await bench.client()
    assert (await c.register(*EVENTS)).opcode == Op.READY
    assert not any(cluster.requests(Op.REGISTER) for cluster in bench.clusters)
    for cluster in bench.clusters:
        report(cluster, "CREATED", "TABLE", "ks", "zdm_pooled")
    assert await until_told(c, 1) == [("SCHEMA_CHANGE", "CREATED", "TABLE", "ks", "zdm_pooled")]
    await nothing_else(bench, c, 1)
